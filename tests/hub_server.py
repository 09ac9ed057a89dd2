"""A small stand-in for the Hub: what it answers about a model or data set, access to it, its files.

Written after what huggingface_hub reads of the Hub: a moved repository is a redirect (307) to its
new name, a closed gate 403 and what is gone 404, both with `X-Error-Code`; a file comes with its
commit and digest in the headers.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

MODELS = {
    "open/model": {"gated": False, "cardData": {"license": "apache-2.0"}},
    "open/no-licence": {"gated": False},
    "gated/model": {
        "gated": "manual",
        "cardData": {"license": "other", "license_name": "house", "license_link": "LICENSE"},
    },
    "gated/mine": {"gated": "auto", "cardData": {"license": "llama3.1"}},
}
DATASETS = {
    "open/rows": {"gated": False, "sha": "a" * 40},
    "open/pairs": {"gated": False, "sha": "b" * 40},
    "new/name": {"gated": False, "sha": "c" * 40},
    "gated/rows": {"gated": "manual", "sha": "d" * 40},
}
MOVED = {"old/name": "new/name"}
LET_IN = ("gated/mine",)
FILES: dict[str, dict[str, bytes]] = {}
"""Of a model or data set: its files, by their paths in it."""
SENT: list[str] = []
"""The addresses of the files that were sent."""


def _entry(path: str, data: bytes) -> dict:
    digest = hashlib.sha1(data).hexdigest()
    return {"type": "file", "path": path, "rfilename": path, "size": len(data), "oid": digest}


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._send_file()

    def do_POST(self) -> None:
        """Facts of files that are named in the body."""
        wanted = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["paths"]
        files = FILES[self.path.removeprefix("/api/datasets/").partition("/paths-info/")[0]]
        self._send_json([_entry(path, files[path]) for path in wanted if path in files])

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            self._send_file()
            return
        if "/tree/" in self.path:
            name = self.path.removeprefix("/api/datasets/").partition("/tree/")[0]
            self._send_json([_entry(*file) for file in FILES[name].items()])
            return
        kind, _, name = self.path.removeprefix("/api/").partition("?")[0].partition("/")
        wanted = name.removesuffix("/auth-check").partition("/revision/")[0]
        commit = name.partition("/revision/")[2]
        known = DATASETS if kind == "datasets" else MODELS
        siblings = [_entry(*file) for file in FILES.get(wanted, {}).items()]
        status, code = 200, ""
        answer = {"id": wanted, "siblings": siblings, **known.get(wanted, {})}
        if wanted in MOVED:
            self.send_response(307)
            self.send_header("Location", self.path.replace(wanted, MOVED[wanted]))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if wanted == "broken/model":
            status = 500
        elif wanted not in known:
            status, code = 404, "RepoNotFound"
        elif commit and commit != answer.get("sha"):
            status, code = 404, "RevisionNotFound"
        elif name.endswith("/auth-check") and wanted not in LET_IN:
            status, code = 403, "GatedRepo"
        self._send_json(answer if status == 200 else {"error": code}, status, code)

    def _send_json(self, answer: object, status: int = 200, code: str = "") -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self) -> None:
        name, _, place = self.path.partition("?")[0].partition("/resolve/")
        is_data, name = name.startswith("/datasets/"), name[1:].removeprefix("datasets/")
        data = FILES.get(name, {}).get(place.partition("/")[2])
        if data is None:
            self._send_json({}, 404, "EntryNotFound")
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", (DATASETS if is_data else MODELS)[name]["sha"])
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            SENT.append(self.path)
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hub() -> Iterator[str]:
    """The address of a running one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
