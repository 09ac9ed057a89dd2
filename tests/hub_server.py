"""A small stand-in for the Hub: what it answers about a model or data set, and access to it.

Written after what huggingface_hub reads of the Hub: a moved repository is a redirect (307) to its
new name, a closed gate 403 and what is gone 404, both with `X-Error-Code`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, _, name = self.path.removeprefix("/api/").partition("?")[0].partition("/")
        wanted = name.removesuffix("/auth-check").partition("/revision/")[0]
        commit = name.partition("/revision/")[2]
        known = DATASETS if kind == "datasets" else MODELS
        status, code, answer = 200, "", {"id": wanted, **known.get(wanted, {})}
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
        body = json.dumps(answer if status == 200 else {"error": code}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
