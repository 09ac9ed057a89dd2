"""What an editor shows: the shipped recipes and planted mistakes in a real YAML language server.

    npm install --prefix /tmp/server yaml-language-server
    python benchmarks/check/language_server.py \\
        --server /tmp/server/node_modules/.bin/yaml-language-server

The server is spoken to as an editor does, over standard input and output (Language Server Protocol
3.17). Every file names its schema in its first line. Counted: diagnostics on shipped recipes, which
should be none; planted mistakes of tests/check with a diagnostic; and whether our blocks are
completed and explained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT / "tests" / "check")]

import planted_files  # noqa: E402
from environment import environment  # noqa: E402
from planted_mistakes import MISTAKES  # noqa: E402

from solar_plugins import atomic  # noqa: E402
from solar_plugins.check import kind_of, tool_schemas  # noqa: E402

_SETTINGS = {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}
_BLOCKS = {"depth_up_scaling": "remove_layers", "flan_filter": "tasks", "sdpo": "steps"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", required=True, help="The program yaml-language-server.")
    parser.add_argument("--out", default=str(HERE / "language_server"), help="without its ending")
    arguments = parser.parse_args()
    server = Server(arguments.server)
    numbers = {
        "server": server.version,
        "shipped": _shipped(server),
        "planted": _planted(server),
        "blocks": _blocks(server),
    }
    server.stop()
    path = Path(arguments.out).with_suffix(".json")
    atomic.write_json(path, {"environment": environment(), **numbers})
    print(json.dumps(numbers, indent=1))


class Server:
    """A running yaml-language-server."""

    def __init__(self, program: str) -> None:
        command = [program, "--stdio"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._requests = 0
        self._diagnostics: dict[str, list[dict[str, Any]]] = {}
        workspace = {"textDocument": {"hover": {"contentFormat": ["markdown"]}}}
        workspace["workspace"] = {"configuration": True}
        self.call("initialize", processId=None, rootUri=ROOT.as_uri(), capabilities=workspace)
        self._send({"method": "initialized", "params": {}})
        package = Path(program).resolve().parents[1] / "package.json"
        self.version = json.loads(package.read_text(encoding="utf-8"))["version"]

    def open(self, uri: str, text: str) -> list[dict[str, Any]]:
        """Open a file that is not open yet; its diagnostics."""
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        while uri not in self._diagnostics:
            self._answer(self._receive())
        return self._diagnostics[uri]

    def at(self, what: str, uri: str, line: int, character: int) -> Any:
        """``hover`` or ``completion`` at a place of an open file."""
        place = {"line": line, "character": character}
        return self.call(f"textDocument/{what}", textDocument={"uri": uri}, position=place)

    def call(self, method: str, **parameters: Any) -> Any:
        """A request and its result."""
        self._requests += 1
        self._send({"id": self._requests, "method": method, "params": parameters})
        while True:
            message = self._receive()
            if "method" not in message and message.get("id") == self._requests:
                return message["result"]
            self._answer(message)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _answer(self, message: dict[str, Any]) -> None:
        parameters = message.get("params")
        if message.get("method") == "textDocument/publishDiagnostics":
            self._diagnostics[parameters["uri"]] = parameters["diagnostics"]
        elif "id" in message and "method" in message:
            result = None
            if message["method"] == "workspace/configuration":
                sections = [item.get("section") for item in parameters["items"]]
                result = [_SETTINGS if section == "yaml" else {} for section in sections]
            self._send({"id": message["id"], "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        length = 0
        while (line := self._process.stdout.readline()) != b"\r\n":
            if not line:
                raise SystemExit("the language server has ended")
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return json.loads(self._process.stdout.read(length))


def _shipped(server: Server) -> dict[str, Any]:
    files = [f for name in ("recipes", "mergekit_configs") for f in (ROOT / name).rglob("*.y*ml")]
    said = {
        str(file.relative_to(ROOT)): [found["message"] for found in diagnostics]
        for file in sorted(files)
        if (diagnostics := server.open(file.as_uri(), file.read_text(encoding="utf-8")))
    }
    return {"files": len(files), "with_diagnostics": said}


def _planted(server: Server) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for number, mistake in enumerate(MISTAKES.values()):
        if not mistake.file.endswith(".yml"):
            continue
        good = planted_files.FILES[mistake.file]
        kind = kind_of(yaml.safe_load(good))
        place = ROOT / "recipes" / f"planted_{number}.yml"
        first = tool_schemas.line_for(place, "recipe" if kind == "train" else kind)
        text = f"{first}\n{good.replace(mistake.old, mistake.new, 1)}"
        group = counts.setdefault(mistake.group, Counter())
        group["planted"] += 1
        group["shown"] += bool(server.open(place.as_uri(), text))
    return {group: dict(counted) for group, counted in counts.items()}


def _blocks(server: Server) -> dict[str, dict[str, bool]]:
    """Whether each of our blocks is completed with its keys, and each first key explained."""
    found = {}
    for block, key in _BLOCKS.items():
        place = ROOT / "recipes" / f"block_{block}.yml"
        text = f"{tool_schemas.line_for(place, 'recipe')}\n{block}:\n  {key}: null\n  \n"
        server.open(place.as_uri(), text)
        offered = server.at("completion", place.as_uri(), 3, 2)["items"]
        explained = server.at("hover", place.as_uri(), 2, 4)["contents"]["value"]
        found[block] = {
            "completed": any(item["label"] != key for item in offered),
            "explained": _letters(_description(block, key))[:40] in _letters(explained),
        }
    return found


def _letters(text: str) -> str:
    """What Markdown's escapes leave as it is."""
    return "".join(character for character in text if character.isalnum())


def _description(block: str, key: str) -> str:
    schema = json.loads(tool_schemas.read_schema("recipe"))
    name = schema["properties"][block]["anyOf"][0]["$ref"].rpartition("/")[2]
    return schema["$defs"][name]["properties"][key]["description"]


if __name__ == "__main__":
    main()
