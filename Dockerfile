# Axolotl's own image and the plugins. What the image has stays as it is: its versions constrain the
# install, which fails where one does not fit.
#
#   docker build -t axolotl-solar .
#   docker run --gpus all -v "$PWD":/workspace/data -w /workspace/data axolotl-solar \
#       axolotl train my_recipe.yml
#
# Another Axolotl: --build-arg AXOLOTL=main-latest. Which ones work: README.md, "In the Axolotl that
# you have".
ARG AXOLOTL=0.19.0
FROM axolotlai/axolotl-uv:${AXOLOTL}

COPY pyproject.toml LICENSE /tmp/solar_plugins/
COPY docs/package_page.md /tmp/solar_plugins/docs/
COPY recipes /tmp/solar_plugins/recipes/
COPY mergekit_configs /tmp/solar_plugins/mergekit_configs/
COPY solar_plugins /tmp/solar_plugins/solar_plugins/

RUN export UV_PYTHON="$(command -v python)" \
    && uv pip list --exclude-editable --format freeze >/tmp/image.txt \
    && uv pip install --no-cache --constraint /tmp/image.txt /tmp/solar_plugins
