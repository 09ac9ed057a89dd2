# make demo         the paper in miniature, on two CPU cores
# make real         a real model of 135M parameters and real data, DATA=FOLDER, on two CPU cores
# make gpu          what one GPU shows, meant for ten minutes: benchmarks/gpu/results.md
# make check-fast   lint, types, imports and the pure tests, in less than a minute
# make test         the whole test suite
# make docs         the docs site, into outputs/site
# Each installs what it needs first; `make install` is that alone.

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8

# The Python of an environment that is there, or else the first one that the stack runs on;
# `make PYTHON=/path/to/python …` overrides.
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))
ifndef PYTHON
PYTHON := $(shell for p in $(BIN)/python python3 python3.11 python3.12 python3.10; do \
	"$$p" -c '$(SUPPORTED)' 2>/dev/null && { echo "$$p"; break; }; done)
endif

# uv does not read pip's settings: hand over those that a machine may depend on.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif
export AXOLOTL_DO_NOT_TRACK ?= 1

INSTALLED := $(VENV)/.installed
UV := $(BIN)/uv pip install --python $(BIN)/python --constraint requirements.lock

# An environment names its folder and its Python: for others it is made anew.
export MADE_FOR := $(shell "$(PYTHON)" -c 'import sys; print(sys.base_prefix, *sys.version_info[:2])' 2>/dev/null) in $(CURDIR)
ifneq "$(MADE_FOR)" "$(shell cat $(INSTALLED) 2>/dev/null)"
CLEAR := $(if $(wildcard $(INSTALLED)),--clear)
.PHONY: $(INSTALLED)
endif

.PHONY: install demo real gpu test check-fast lint format lock docs
.DEFAULT_GOAL := demo

install: $(INSTALLED)
	@echo "$(VENV) is installed: $$($(BIN)/python --version)"

$(INSTALLED): pyproject.toml requirements.lock
	@"$(PYTHON)" -c '$(SUPPORTED)' 2>/dev/null || { echo "error: needed: Python 3.10, 3.11 or 3.12; found: $(or $(PYTHON),none). Write make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing into $(VENV), which takes a minute or more"
	"$(PYTHON)" -m venv $(CLEAR) $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(UV) --quiet torch setuptools wheel
	$(UV) --quiet --editable '.[dev]'
	@printf '%s\n' "$$MADE_FOR" >$@

demo: $(INSTALLED)
	$(BIN)/solar run recipes/tiny/solar.yml

real: $(INSTALLED)
	@test -d "$(DATA)" || { echo "error: DATA: no such folder: '$(DATA)'. Write make real DATA=FOLDER; docs/real_model.md says which files it holds" >&2; exit 2; }
	$(BIN)/python benchmarks/real/model.py outputs/smollm2-135m-instruct
	$(BIN)/python benchmarks/real/data.py "$(DATA)" outputs/real-data
	$(BIN)/solar run benchmarks/real/chain.yml
	$(BIN)/python benchmarks/real/table.py outputs/real

gpu: $(INSTALLED)
	$(BIN)/python benchmarks/gpu/run.py

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check-fast: lint
	$(BIN)/python -m pytest -q -m "not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)
	$(UV) --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# One lock for Python 3.10 to 3.12, with the CUDA build's packages named but not forced: it is
# used as constraints, so a CPU wheel of torch brings none of them.
lock: $(INSTALLED)
	env -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade \
		--no-header --no-annotate --all-extras pyproject.toml --output-file requirements.lock
