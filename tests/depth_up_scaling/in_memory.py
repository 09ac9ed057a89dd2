"""A base up-scaled while it is loaded, as the plugin does it."""


def load_up_scaled(base, block, **options):
    """The deeper model of `base`, for the recipe's block."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from solar_plugins.depth_up_scaling.args import parse
    from solar_plugins.depth_up_scaling.growth import grow
    from solar_plugins.depth_up_scaling.remap import up_scaled_loading

    block = parse(block)
    config = AutoConfig.from_pretrained(base)
    layers = block.layer_map(config.get_text_config().num_hidden_layers)
    growth = grow(config, layers, block.init)
    with up_scaled_loading(growth):
        return AutoModelForCausalLM.from_pretrained(base, config=growth.config, **options)
