"""One of the processes that evaluate a model together: accelerate's launcher starts one per GPU.

accelerate launch --module solar_plugins.evaluation.rank CONFIG MODEL RESULT NAME
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from solar_plugins.evaluation.backend import Backend
from solar_plugins.evaluation.h6 import evaluate_model


def main(arguments: list[str]) -> None:
    """`evaluate_model` as the process that the environment says; the first one writes the result.

    Args:
        arguments: lm-eval's config file, the model, the result file and the model's name in it.
    """
    config_file, model, out_json, name = arguments
    backend = Backend(data_parallel=int(os.environ["WORLD_SIZE"]))
    evaluate_model(Path(config_file), model, Path(out_json), name, backend=backend)


if __name__ == "__main__":
    main(sys.argv[1:])
