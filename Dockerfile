# solar_plugins in Axolotl's own image: nothing of the image is replaced, or the build stops.
#
#   docker build --tag solar .
#   docker run --gpus all --rm -it -v "$PWD/outputs:/workspace/solar/outputs" solar
#   … axolotl train recipes/sft_v4.yml          # one stage
#   … solar run recipes/solar.yml               # the chain
#
# README.md has the versions of Axolotl that were tried; another image: --build-arg IMAGE=….
ARG IMAGE=axolotlai/axolotl:main-latest
FROM ${IMAGE}

COPY . /opt/solar_plugins

# Without [train], which would bring versions of its own. MergeKit is not in Axolotl's image.
RUN python -m pip list --format=freeze --exclude solar-plugins >/opt/before.txt \
 && python -m pip install --no-cache-dir --constraint /opt/before.txt /opt/solar_plugins mergekit \
 && python -m pip list --format=freeze >/opt/after.txt \
 && ! grep --invert-match --line-regexp --fixed-strings --file /opt/after.txt /opt/before.txt

RUN solar new /workspace/solar
WORKDIR /workspace/solar
