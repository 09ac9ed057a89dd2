"""Removing benchmark-derived FLAN tasks from instruction data (SOLAR 10.7B, Table 8).

What other programs may import, loaded on first use:

    from solar_plugins.flan_filter import Matcher, read_index

    matcher = Matcher(read_index("hf://datasets/me/flan/flan.index"))
    for finding in matcher.find(["Solve: Natalia sold clips to 48 of her friends …"]):
        print(finding.row, finding.task, finding.reason, finding.removes)

`read_index` and `Matcher` find tasks in prompts; `FlanFilterBlock` (the YAML block), `RowFilter`
and `Audit` filter batches of rows and count; `found` and `filter_files` filter files and folders;
`FlanFilter` is a block of datatrove pipelines (with the extra `datatrove`).
"""

from importlib import import_module

_MODULES = {
    "Audit": "audit",
    "Finding": "matcher",
    "FlanFilter": "datatrove",
    "FlanFilterBlock": "args",
    "Index": "index_file",
    "Matcher": "matcher",
    "RowFilter": "row_filter",
    "filter_files": "filter_files",
    "found": "shards",
    "read_index": "index_file",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
