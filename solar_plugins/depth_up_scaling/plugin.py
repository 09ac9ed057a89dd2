"""Axolotl trains the depth up-scaled model where the recipe names its base."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from solar_plugins import run_record
from solar_plugins.depth_up_scaling import config_rules, identity
from solar_plugins.depth_up_scaling.args import BLOCK, DepthUpScalingBlock, parse
from solar_plugins.depth_up_scaling.grown_config import base_depth, grow_config, load_config
from solar_plugins.depth_up_scaling.remap import up_scaled_loading
from solar_plugins.depth_up_scaling.tensor_plan import Blueprint, blueprint, plan_tensors
from solar_plugins.errors import SolarError, show_errors_in_one_line
from solar_plugins.models.weight_files import check_files, count_elements, weight_files
from solar_plugins.recipes.registry import is_named

# Axolotl shows messages below WARNING only for loggers of its own name.
LOG = get_logger("axolotl.solar_plugins.depth_up_scaling")

OVERRIDES = "overrides_of_model_config"
DEFAULT_OUTPUT_DIR = "./model-out"  # Axolotl's own


class DepthUpScalingPlugin(BasePlugin):
    """Depth up-scaling at load: SOLAR paper, section 2 (n layers, m removed per copy, 2(n-m)).

    The deeper config goes in through Axolotl's own ``overrides_of_model_config``, so that the model
    is built at its new depth; the base's tensors are mapped into it while Axolotl loads the model.
    The base on disk stays as it is. A checkpoint of the run has the new depth, and resuming reads
    it into a model that was built in the same way: nothing grows twice.

    An adapter is saved without its base and names it by its path, so that it needs the up-scaled
    base on disk: there it is written first (`adapter_base`), and Axolotl trains on that folder.
    """

    def __init__(self):
        super().__init__()
        self._base_config: PreTrainedConfig | None = None
        self._facts: dict[str, Any] | None = None
        self._blueprint: Blueprint | None = None
        self._loading = ExitStack()
        self._report = None

    def get_input_args(self) -> str:
        return "solar_plugins.depth_up_scaling.args.DepthUpScalingArgs"

    def register(self, cfg: dict) -> None:
        """Check base and block, and tell Axolotl the deeper model's config.

        Raises:
            SolarError: the base cannot be up-scaled like this; nothing was loaded yet.
        """
        show_errors_in_one_line()
        self._loading.close()
        self._base_config = self._facts = self._blueprint = self._report = None
        if not is_named(cfg, "DepthUpScalingPlugin") or not cfg.get("base_model"):
            return  # without a base, Axolotl's own validation says so
        block = parse(cfg.get(BLOCK))
        _refuse_uncovered_recipe(cfg)

        base_config = _load_base_config(cfg)
        if cfg.get("inference") and config_rules.MARK in base_config.to_dict():
            return  # `axolotl inference RECIPE --base-model RESULT`: it has its layers
        config_rules.refuse_grown(base_config.to_dict(), cfg["base_model"])
        depth = base_depth(base_config)
        ranges = block.ranges(depth)
        mark = config_rules.mark(depth, ranges, block.init)
        layers = mark["layer_map"]
        if block.init == "identity":
            identity.check_map(layers, depth)

        overrides = _user_overrides(cfg, grow_config(base_config, layers)[1].changes)
        for key, value in overrides.items():
            setattr(base_config, key, value)
        _, grown = grow_config(base_config, layers)
        self._blueprint = _compare_without_weights(cfg, base_config, mark)
        for warning in grown.warnings:
            LOG.warning(f"{BLOCK}: {warning}")
        self._facts = {
            "base_model": str(cfg["base_model"]),
            "num_hidden_layers": len(layers),
            **mark,
        }
        # `axolotl preprocess` reads the tokenizer alone
        if cfg.get("adapter") and not cfg.get("is_preprocess"):
            cfg[OVERRIDES] = overrides or None
            _train_on_written_base(cfg, block)
            return
        cfg[OVERRIDES] = {**overrides, **grown.changes, config_rules.MARK: mark}
        self._base_config = base_config

    def pre_model_load(self, cfg: DictDefault) -> None:
        if not is_named(cfg, "DepthUpScalingPlugin") or self._base_config is None:
            return
        self._loading.close()
        self._report = self._loading.enter_context(
            up_scaled_loading(
                self._base_config, self._facts["layer_map"], self._facts["init"], self._blueprint
            )
        )

    def post_model_build(self, cfg: DictDefault, model: PreTrainedModel) -> None:
        """See that the model which Axolotl built went through the remapped loading.

        Raises:
            SolarError: Axolotl took a road that does not pass there.
        """
        self._loading.close()
        if not is_named(cfg, "DepthUpScalingPlugin") or self._base_config is None:
            return
        if self._report.model_class is None:
            raise SolarError(
                f"{BLOCK}: Axolotl loaded {type(model).__name__} in a way that the up-scaling does "
                "not reach. Write the up-scaled model first (`solar dus BASE --out DIR`), and "
                f"train that folder without {BLOCK} and its plugin."
            )
        plan = self._report.plan
        if plan.dropped:
            LOG.warning(
                f"{BLOCK}: {len(plan.dropped)} tensors behind the base's last layer (heads "
                "for predicting several tokens) are not taken over."
            )
        facts = self._facts
        LOG.info(
            f"{BLOCK}: {facts['base_num_hidden_layers']} -> {facts['num_hidden_layers']} layers, "
            f"base layers {_ranges_text(facts['layer_ranges'])}, init {facts['init']} "
            f"({len(plan.zeroed)} tensors at zero)"
        )

    def post_train_unload(self, cfg: DictDefault) -> None:
        """Leave the proof, once the saved model is there and says its own depth.

        Raises:
            SolarError: what was saved is not the up-scaled model.
        """
        # Axolotl has destroyed the process group by now; the launcher's variable is still there
        if not is_named(cfg, "DepthUpScalingPlugin") or os.environ.get("RANK", "0") != "0":
            return
        saved = AutoConfig.from_pretrained(
            cfg.output_dir, trust_remote_code=cfg.trust_remote_code is True
        )
        depth = saved.get_text_config().num_hidden_layers
        if depth != self._facts["num_hidden_layers"]:
            raise SolarError(
                f"{cfg.output_dir}: saved with {depth} layers where "
                f"{self._facts['num_hidden_layers']} were trained. Keep this folder and report it."
            )
        weights = cfg.base_model if cfg.adapter else cfg.output_dir
        parameters = count_elements(weight_files(weights, "output_dir"))
        run_record.write(cfg.output_dir, BLOCK, {**self._facts, "parameters": parameters})


def _load_base_config(cfg: dict) -> PreTrainedConfig:
    """The base's own config, once its weights, if it is a folder, are there and whole."""
    base_model = str(cfg["base_model"])
    if Path(base_model).exists():
        weight_files(base_model)
    revision = {"revision": cfg["revision_of_model"]} if cfg.get("revision_of_model") else {}
    name = str(cfg.get("base_model_config") or base_model)
    config = load_config(name, cfg.get("trust_remote_code") is True, **revision)
    if config.get_text_config() is not config:
        raise SolarError(
            f"base_model: {config.model_type} keeps its language model's config inside another "
            "one, which Axolotl's config overrides do not reach. Write the up-scaled model first "
            f"(`solar dus {cfg['base_model']} --out DIR`), and train that folder without {BLOCK} "
            "and its plugin."
        )
    return config


def _train_on_written_base(cfg: dict, block: DepthUpScalingBlock) -> None:
    """Let `cfg` name the up-scaled base on disk, and write it if it is not there."""
    from solar_plugins.depth_up_scaling import adapter_base  # its tools only adapters need

    base = str(cfg["base_model"])
    if cfg.get("revision_of_model"):
        raise SolarError(
            f"revision_of_model: {cfg['revision_of_model']} names a state of {base}, but {BLOCK} "
            "writes the base of an adapter to a folder of its own. Fetch that state to a folder, "
            "and name the folder as base_model."
        )
    # merging and inference may name the adapter's folder beside another output_dir
    beside = cfg.get("lora_model_dir")
    if not beside or not adapter_base.folder_of(beside).is_dir():
        beside = cfg.get("output_dir") or DEFAULT_OUTPUT_DIR
    folder = adapter_base.ensure(base, block, beside, cfg.get("trust_remote_code") is True)
    LOG.info(f"{BLOCK}: the adapter's up-scaled base is {folder}")
    # prepared data are known by their tokenizer: `axolotl preprocess` has named this one
    cfg["tokenizer_config"] = cfg.get("tokenizer_config") or base
    cfg["base_model"] = str(folder)


def _compare_without_weights(
    cfg: dict, base_config: PreTrainedConfig, mark: dict[str, Any]
) -> Blueprint | None:
    """What the loading would refuse in architecture and files, refused before data are prepared."""
    if type(base_config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return None  # the base brings its own code, which is imported when it is loaded
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(base_config)]
    layers = blueprint(model_class, base_config, mark["layer_map"], mark["init"])
    if Path(str(cfg["base_model"])).is_dir():
        stored = check_files(weight_files(cfg["base_model"]))
        plan_tensors(layers, stored, get_model_conversion_mapping(layers.base))
    return layers


def _ranges_text(ranges: Iterable[Sequence[int]]) -> str:
    return " + ".join(f"{start}-{end - 1}" for start, end in ranges)


def _user_overrides(cfg: dict, per_layer: Iterable[str]) -> dict[str, Any]:
    """The recipe's own config overrides; ``model_config`` is the schema's other name for them."""
    overrides = {**(cfg.get(OVERRIDES) or {}), **(cfg.pop("model_config", None) or {})}
    ours = {"num_hidden_layers", *per_layer}
    if overrides.pop(config_rules.MARK, None):  # registered before: `axolotl merge-lora` does it
        return {key: value for key, value in overrides.items() if key not in ours}
    for key in overrides:
        if key in ours:
            raise SolarError(
                f"{OVERRIDES}.{key}: follows from the base's layers under {BLOCK}. Take it out."
            )
    return overrides


def _refuse_uncovered_recipe(cfg: dict) -> None:
    """Raise for ways of training that would read the un-grown base behind our back."""
    if cfg.get("reinit_weights"):
        raise SolarError(
            f"reinit_weights: starts from random weights, so that {BLOCK} has nothing to copy. "
            "Take one of the two out."
        )
    base, output = Path(str(cfg["base_model"])), cfg.get("output_dir")
    if cfg.get("inference"):  # writes nothing, and on a result the two are the same
        return
    if output and base.exists() and base.resolve() == Path(str(output)).resolve():
        raise SolarError(
            f"output_dir: {output} is the base_model itself, which stays as it is. "
            "Name another folder."
        )
