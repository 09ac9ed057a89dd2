"""A small stand-in for the Hub: what it answers about a model, and about access to it."""

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
LET_IN = ("gated/mine",)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models/").partition("?")[0]
        wanted = name.removesuffix("/auth-check")
        wanted = wanted.partition("/revision/")[0]
        status, code, answer = 200, "", {"id": wanted, **MODELS.get(wanted, {})}
        if wanted == "broken/model":
            status = 500
        elif wanted not in MODELS:
            status, code = 404, "RepoNotFound"
        elif "/revision/" in name:
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
