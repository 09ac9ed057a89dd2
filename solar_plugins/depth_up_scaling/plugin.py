"""Axolotl trains the depth up-scaled model of the base that the recipe names."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from solar_plugins import run_record
from solar_plugins.depth_up_scaling import as_llama, config_rules
from solar_plugins.depth_up_scaling.args import BLOCK, DepthUpScalingBlock, parse
from solar_plugins.depth_up_scaling.growth import (
    Growth,
    base_depth,
    fields_of_depth,
    grow,
    load_config,
)
from solar_plugins.depth_up_scaling.layer_map import ranges_of
from solar_plugins.depth_up_scaling.remap import UpScaledLoading, up_scaled_loading
from solar_plugins.depth_up_scaling.tensor_plan import Blueprint, blueprint, plan_tensors
from solar_plugins.errors import SolarError, show_errors_in_one_line
from solar_plugins.models.safetensors_header import read_files, weight_files
from solar_plugins.recipes.registry import is_named
from solar_plugins.seams import transformers as transformers_seam
from solar_plugins.watch.plugin import WatchedPlugin

# Axolotl shows messages below WARNING only for loggers of its own name.
LOG = get_logger("axolotl.solar_plugins.depth_up_scaling")

OVERRIDES = "overrides_of_model_config"
DEFAULT_OUTPUT_DIR = "./model-out"  # Axolotl's own


@dataclass(frozen=True)
class Registered:
    """What `DepthUpScalingPlugin.register` found out.

    Attributes:
        base_model: the recipe's base, as it names it.
        block: the recipe's block.
        growth: the configs of base and deeper model.
        blueprint: the structure check, if it could be made without the base's own code.
        on_disk: whether Axolotl loads a base that was written to disk (adapters).
    """

    base_model: str
    block: DepthUpScalingBlock
    growth: Growth
    blueprint: Blueprint | None
    on_disk: bool


class DepthUpScalingPlugin(WatchedPlugin):
    """Depth up-scaling at load: SOLAR paper, section 2 (n layers, m removed per copy, 2(n-m)).

    The deeper config goes in through Axolotl's own ``overrides_of_model_config``, so that the model
    is built at its new depth; the base's tensors are mapped into it while Axolotl loads the model.
    The base on disk stays unchanged. A checkpoint of the run has the new depth, and resuming reads
    it into a model that was built in the same way: nothing grows twice.

    An adapter is saved without its base and names it by its path, so that it needs the up-scaled
    base on disk: it is written first (`adapter_base`), and Axolotl trains on that folder.
    """

    def __init__(self) -> None:
        super().__init__()
        self._registered: Registered | None = None
        self._loading = ExitStack()
        self._report = UpScaledLoading()

    def get_input_args(self) -> str:
        return "solar_plugins.depth_up_scaling.args.DepthUpScalingArgs"

    def register(self, cfg: dict) -> None:
        """Check base and block, and put the deeper model's config into `cfg`.

        Raises:
            SolarError: the base cannot be up-scaled like this, or transformers does not fit;
                nothing was loaded yet.
        """
        show_errors_in_one_line()
        self._loading.close()
        self._registered = None
        if not is_named(cfg, "DepthUpScalingPlugin") or not cfg.get("base_model"):
            return  # Axolotl's own validation reports a missing base
        transformers_seam.self_test()
        block = parse(cfg.get(BLOCK))
        _refuse_uncovered_recipe(cfg)

        base_model = str(cfg["base_model"])
        base_config = _load_base_config(cfg)
        if cfg.get("inference") and config_rules.MARK in base_config.to_dict():
            return  # `axolotl inference RECIPE --base-model RESULT`: it has its layers
        config_rules.refuse_grown(base_config.to_dict(), base_model)
        layers = block.layer_map(base_depth(base_config))
        overrides = _user_overrides(cfg, fields_of_depth(base_config, layers))
        for key, value in overrides.items():
            setattr(base_config, key, value)
        llama = as_llama.of_recipe(cfg, base_config.to_dict(), base_model)
        if block.as_llama and not llama and base_config.model_type != "llama":
            LOG.warning(f"{BLOCK}.as_llama: {base_model} stays {base_config.model_type}.")
        block.as_llama = bool(llama)
        growth = grow(as_llama.converted(base_config, llama), layers, block.init)
        known = _compare_without_weights(cfg, growth)
        for warning in growth.warnings:
            LOG.warning(f"{BLOCK}: {warning}")
        if block.train == "added":
            _freeze_the_base(cfg, growth, known)
        # `axolotl preprocess` reads the tokenizer alone
        on_disk = bool(cfg.get("adapter")) and not cfg.get("is_preprocess")
        if on_disk:
            cfg[OVERRIDES] = overrides or None
            _train_on_written_base(cfg, block)
        else:
            cfg[OVERRIDES] = overrides | llama | growth.changes | {config_rules.MARK: growth.mark}
            if llama:
                cfg["cls_model_config"] = "LlamaConfig"
        self._registered = Registered(base_model, block, growth, known, on_disk)

    def pre_model_load(self, cfg: DictDefault) -> None:
        found = self._loads(cfg)
        if found is not None:
            self._loading.close()
            loading = up_scaled_loading(found.growth, found.blueprint)
            self._report = self._loading.enter_context(loading)

    def post_model_build(self, cfg: DictDefault, model: PreTrainedModel) -> None:
        """Require that the model which Axolotl built went through the remapped loading.

        Raises:
            SolarError: Axolotl loaded it in another way.
        """
        self._loading.close()
        found = self._loads(cfg)
        if found is None:
            return
        plan, growth = self._report.plan, found.growth
        if plan is None:
            raise SolarError(
                f"{BLOCK}: Axolotl loaded {type(model).__name__} in a way that the up-scaling does "
                "not reach. Write the up-scaled model first (`solar dus BASE --out DIR`), and "
                f"train that folder without {BLOCK} and its plugin."
            )
        for warning in plan.warnings:
            LOG.warning(f"{BLOCK}: {warning}")
        ranges = " + ".join(f"{start}-{end - 1}" for start, end in ranges_of(growth.layer_map))
        LOG.info(
            f"{BLOCK}: {growth.depth} -> {len(growth.layer_map)} layers, base layers {ranges}, "
            f"init {growth.init} ({len(plan.zeroed)} tensors at zero, {len(plan.averaged)} "
            f"averaged), train {found.block.train}"
        )

    def post_train_unload(self, cfg: DictDefault) -> None:
        """Write the run record, once the saved model has the new depth.

        Raises:
            SolarError: what was saved is not the up-scaled model.
        """
        # Axolotl has destroyed the process group by now; the launcher's variable is still set
        if not is_named(cfg, "DepthUpScalingPlugin") or not run_record.is_first_process():
            return
        assert self._registered is not None
        growth = self._registered.growth
        saved = AutoConfig.from_pretrained(
            cfg.output_dir, trust_remote_code=cfg.trust_remote_code is True
        )
        depth = saved.get_text_config().num_hidden_layers
        kind, wanted = growth.config.model_type, len(growth.layer_map)
        if (saved.model_type, depth) != (kind, wanted):
            raise SolarError(
                f"{cfg.output_dir}: saved as {saved.model_type} with {depth} layers where {kind} "
                f"with {wanted} was trained. Keep this folder and report it."
            )
        weights = cfg.base_model if cfg.adapter else cfg.output_dir
        tensors = read_files(weight_files(weights, "output_dir")).values()
        facts = {
            "base_model": self._registered.base_model,
            "num_hidden_layers": depth,
            **growth.mark,
            "train": self._registered.block.train,
            "as_llama": self._registered.block.as_llama,
            "parameters": sum(tensor.elements for tensor in tensors),
        }
        run_record.write(cfg.output_dir, BLOCK, facts)

    def _loads(self, cfg: DictDefault) -> Registered | None:
        """What was registered, if the model of `cfg` is up-scaled while Axolotl loads it."""
        found = self._registered
        if found is None or found.on_disk or not is_named(cfg, "DepthUpScalingPlugin"):
            return None
        return found


def _load_base_config(cfg: dict) -> PreTrainedConfig:
    """The base's own config, once its weights, if it is a folder, are whole."""
    base_model = str(cfg["base_model"])
    if Path(base_model).exists():
        read_files(weight_files(base_model))
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
    """Make the up-scaled base on disk the base_model of `cfg`; write it unless it exists."""
    from solar_plugins.depth_up_scaling import adapter_base  # its tools only adapters need

    base = str(cfg["base_model"])
    # merging and inference may name the adapter's folder and another output_dir
    run_folder = cfg.get("lora_model_dir")
    if not run_folder or not adapter_base.folder_of(run_folder).is_dir():
        run_folder = cfg.get("output_dir") or DEFAULT_OUTPUT_DIR
    revision = cfg.get("revision_of_model")
    source = f"{base}@{revision}" if revision and not Path(base).exists() else base
    folder = adapter_base.ensure(source, block, run_folder, cfg.get("trust_remote_code") is True)
    LOG.info(f"{BLOCK}: the adapter's up-scaled base is {folder}")
    # prepared data are found by their tokenizer: `axolotl preprocess` has named this one
    cfg["tokenizer_config"] = cfg.get("tokenizer_config") or base
    cfg["base_model"] = str(folder)


def _compare_without_weights(cfg: dict, growth: Growth) -> Blueprint | None:
    """What the loading would refuse in architecture and files, refused before data are prepared."""
    kind = type(growth.base)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return None  # the base brings its own code, which is imported when it is loaded
    layers = blueprint(MODEL_FOR_CAUSAL_LM_MAPPING[kind], growth)
    if Path(str(cfg["base_model"])).is_dir():
        stored = read_files(weight_files(cfg["base_model"]))
        plan_tensors(layers, stored, transformers_seam.conversions_of(layers.base))
    return layers


def _freeze_the_base(cfg: dict, growth: Growth, known: Blueprint | None) -> None:
    """Let Axolotl's own ``unfrozen_parameters`` train the added layers alone.

    Raises:
        SolarError: nothing is added, or the recipe chooses what to train in another way.
    """
    if not growth.added:
        raise SolarError(
            f"{BLOCK}.train: added needs a stack that keeps every base layer in its order, and "
            "layer_ranges do not. Write train: all, or other ranges."
        )
    if cfg.get("adapter"):
        raise SolarError(
            f"{BLOCK}.train: added is for a full fine-tune. For an adapter in the added layers "
            f"alone write peft_layers_to_transform: {growth.added}, and train: all."
        )
    if known is None:
        raise SolarError(
            f"{BLOCK}.train: added needs an architecture that transformers itself knows, and "
            f"{cfg['base_model']} brings its own code. Write unfrozen_parameters, or train: all."
        )
    added = "|".join(map(str, growth.added))
    ours = [f"^{name}.({added})." for name in known.layer_lists]
    if cfg.get("unfrozen_parameters") not in (None, ours):
        raise SolarError(
            f"{BLOCK}.train: added and unfrozen_parameters each choose what is trained. Remove one "
            "of them."
        )
    cfg["unfrozen_parameters"] = ours


def _user_overrides(cfg: dict, ours: set[str]) -> dict[str, Any]:
    """The recipe's own config overrides, of which none may be one of `ours`.

    ``model_config`` is the schema's other name for them.
    """
    overrides = {**(cfg.get(OVERRIDES) or {}), **(cfg.pop("model_config", None) or {})}
    if overrides.pop(config_rules.MARK, None):  # registered before: `axolotl merge-lora` does it
        return {key: value for key, value in overrides.items() if key not in ours}
    for key in overrides:
        if key in ours:
            raise SolarError(
                f"{OVERRIDES}.{key}: follows from the base's layers under {BLOCK}. Remove it."
            )
    return overrides


def _refuse_uncovered_recipe(cfg: dict) -> None:
    """Raise for ways of training that would read the base as it is on disk."""
    if cfg.get("reinit_weights"):
        raise SolarError(
            f"reinit_weights: starts from random weights, so that {BLOCK} has nothing to copy. "
            "Remove one of the two."
        )
    base, output = Path(str(cfg["base_model"])), cfg.get("output_dir")
    if cfg.get("inference"):  # writes nothing, and on a result the two are the same
        return
    if output and base.exists() and base.resolve() == Path(str(output)).resolve():
        raise SolarError(
            f"output_dir: {output} is the base_model itself, which stays unchanged. "
            "Name another folder."
        )
