"""A Hub in a folder: `FOLDER/models/OWNER/NAME/FILE`, `FOLDER/datasets/…`."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/[^/]+)?(.*)")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *args: object) -> None:
        self.folder = folder
        super().__init__(*args)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if asked := _API.fullmatch(path):
            kind, name, part, below = asked.groups()
            files = self._files(self.folder / kind / name)
            answer: object = {
                "id": name, "sha": COMMIT, "private": False, "gated": False, "disabled": False,
                "tags": [], "downloads": 0, "siblings": [{"rfilename": one} for one in files],
            }  # fmt: skip
            if part in ("tree", "paths-info"):
                wanted = below.strip("/")
                if part == "paths-info":
                    wanted = json.loads(self._body())["paths"]
                answer = [entry for one, entry in files.items() if self._is_in(one, wanted)]
            found = bool(files)
            self._send(200 if found else 404, json.dumps(answer).encode(), "application/json")
        elif (asked := _FILE.fullmatch(path)) and (file := self._file(*asked.groups())).is_file():
            self._send(200, file.read_bytes(), "application/octet-stream")
        else:
            self._send(404, b"{}", "application/json")

    do_HEAD = do_POST = do_GET

    def _file(self, datasets: str | None, name: str, file: str) -> Path:
        return self.folder / ("datasets" if datasets else "models") / name / file

    def _files(self, folder: Path) -> dict[str, dict]:
        return {
            str(file.relative_to(folder)): {
                "type": "file", "path": str(file.relative_to(folder)),
                "size": file.stat().st_size, "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
            }
            for file in sorted(folder.rglob("*")) if file.is_file()
        }  # fmt: skip

    @staticmethod
    def _is_in(file: str, wanted: str | list[str]) -> bool:
        names = wanted if isinstance(wanted, list) else [wanted]
        return any(not one or file == one or file.startswith(f"{one}/") for one in names)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind, "Content-Length": str(len(body)), "X-Repo-Commit": COMMIT,
            "ETag": f'"{hashlib.sha1(body).hexdigest()}"',
        }  # fmt: skip
        if status == 404:
            headers["X-Error-Code"] = (
                "EntryNotFound" if "/resolve/" in self.path else "RepoNotFound"
            )
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a running one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
