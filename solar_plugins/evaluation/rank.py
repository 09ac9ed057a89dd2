"""One of the processes that evaluate a model together: accelerate's launcher starts one per GPU."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from solar_plugins.errors import show_errors_in_one_line
from solar_plugins.evaluation.backend import Backend
from solar_plugins.evaluation.h6 import evaluate_model


def main(arguments: list[str]) -> None:
    """`evaluate_model` with its first four arguments and, if given, others as JSON."""
    config_file, model, out_json, name, *more = arguments
    backend = Backend(data_parallel=int(os.environ["WORLD_SIZE"]))
    options = json.loads(more[0]) if more else {}
    evaluate_model(Path(config_file), model, Path(out_json), name, backend=backend, **options)


if __name__ == "__main__":
    show_errors_in_one_line()
    main(sys.argv[1:])
