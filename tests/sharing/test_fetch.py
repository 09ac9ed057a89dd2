"""Packs by https and from the Hub, against servers on this machine."""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from packs import good_files, pack_of

from solar_plugins.errors import SolarError
from solar_plugins.sharing import fetch
from solar_plugins.sharing.trust import archive

pytestmark = pytest.mark.slow

PACK = pack_of(good_files())


class Answers(http.server.BaseHTTPRequestHandler):
    """Serves what ``server.answers`` holds: path -> (status, headers, body or blocks)."""

    def do_GET(self) -> None:
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            for block in [body] if isinstance(body, bytes) else body:
                self.wfile.write(block)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.server.broken_off = True

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, body, self.headers.get("Authorization")))
        self.do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


def serve(context: ssl.SSLContext | None) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.answers, server.posted, server.broken_off = {}, [], False
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if context is not None else "http"
    server.url = f"{scheme}://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + made.public_bytes(encoding))
    return file


@pytest.fixture
def server(certificate: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(context)
    yield server
    server.shutdown()


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The system's certificates and the server's besides."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return ssl.create_default_context(cafile=str(certificate))


def test_a_pack_by_https(server, trusted):
    server.answers["/a.solar.zip"] = (200, {"Content-Length": len(PACK)}, PACK)
    assert fetch.read_url(f"{server.url}/a.solar.zip", trusted) == PACK


def test_a_redirect_to_https_is_followed_and_others_are_not(server, trusted):
    server.answers["/a"] = (200, {}, PACK)
    server.answers["/to"] = (302, {"Location": f"{server.url}/a"}, b"")
    assert fetch.read_url(f"{server.url}/to", trusted) == PACK
    for place in ("http://127.0.0.1:1/a", "file:///etc/passwd", "ftp://127.0.0.1/a"):
        server.answers["/to"] = (302, {"Location": place}, b"")
        with pytest.raises(SolarError, match=r"which is not https\.|is not allowed"):
            fetch.read_url(f"{server.url}/to", trusted)


def test_a_stream_without_end_is_cut_off(server, trusted, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_PACK_BYTES", 3 << 20)
    server.answers["/a"] = (200, {}, (b"x" * (1 << 16) for _ in range(100_000)))
    with pytest.raises(SolarError, match="more than 3 MiB"):
        fetch.read_url(f"{server.url}/a", trusted)


def test_a_broken_off_download_is_told(server, trusted):
    server.answers["/a"] = (200, {"Content-Length": 10 * len(PACK)}, PACK)
    with pytest.raises(SolarError, match=r"broke off|not reachable"):
        fetch.read_url(f"{server.url}/a", trusted)


def test_an_unknown_certificate_is_refused(server):
    server.answers["/a"] = (200, {}, PACK)
    with pytest.raises(SolarError, match=r"not reachable: .*(?i:certificate)"):
        fetch.read_url(f"{server.url}/a")


def test_the_servers_refusal_is_one_line(server, trusted):
    with pytest.raises(SolarError, match=r"/nowhere: the server says 404 Not Found\.$"):
        fetch.read_url(f"{server.url}/nowhere", trusted)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("http://example.org/a.zip", "not an https address"),
        ("ftp://example.org/a.zip", "not an https address"),
        ("file:///etc/passwd", "not an https address"),
        ("data://x", "not an https address"),
        ("https://me:hunter2@example.org/a", "a password in an address"),
        ("https://", "not reachable"),
        ("https://[x/a", "address"),
        ("hf://owner", "not a repository"),
        ("no-such-file.zip", "no such file"),
        (".", "is a folder"),
    ],
)
def test_other_sources_are_refused_in_one_line(source: str, line: str):
    with pytest.raises(SolarError) as caught:
        fetch.read_source(source)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_larger_than_a_pack_is_not_read(tmp_path: Path):
    with (tmp_path / "a.zip").open("wb") as file:
        file.truncate(archive.MAX_PACK_BYTES + 1)
    with pytest.raises(SolarError, match="more than 32 MiB"):
        fetch.read_source(str(tmp_path / "a.zip"))


_ON_THE_HUB = """
import sys
from solar_plugins.sharing import fetch
from solar_plugins.errors import SolarError
for source in sys.argv[2:]:
    try:
        data = fetch.read_source(source)
        open(sys.argv[1], "wb").write(data)
        print("read", len(data))
    except SolarError as error:
        print("error", error)
"""


def test_a_pack_from_the_hub(tmp_path: Path):
    """huggingface_hub itself, in a process of its own: it reads its endpoint when imported."""
    commit = "c0ffee" * 6 + "c0ff"
    server = serve(None)
    siblings = [{"rfilename": "a.solar.zip", "size": len(PACK)}, {"rfilename": "x", "size": 1}]
    info = {"id": "me/mine", "sha": commit, "siblings": siblings, "tags": [], "private": False}
    large = {**info, "siblings": [{"rfilename": "a.solar.zip", "size": 1 << 40}]}
    kind = {"Content-Type": "application/json"}
    headers = {"Content-Length": len(PACK), "ETag": '"e"', "X-Repo-Commit": commit}
    several = {**info, "siblings": [{"rfilename": f"{n}.solar.zip", "size": 1} for n in "ab"]}
    for name, value in (("me/mine", info), ("me/large", large), ("me/several", several)):
        text = json.dumps({**value, "id": name}).encode()
        server.answers[f"/api/models/{name}?blobs=true"] = (200, kind, text)
        server.answers[f"/api/models/{name}"] = (200, kind, text)
    server.answers[f"/me/mine/resolve/{commit}/a.solar.zip"] = (200, headers, PACK)
    out = tmp_path / "read.zip"
    sources = ["hf://me/mine", "hf://me/mine/none.zip", "hf://me/large", "hf://me/several"]
    sources.append("hf://me/nobody")
    run = subprocess.run(
        [sys.executable, "-c", _ON_THE_HUB, str(out), *sources],
        env={
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "cache"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NO_PROXY": "127.0.0.1",
            "HF_HUB_DISABLE_XET": "1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    server.shutdown()
    lines = run.stdout.splitlines()
    assert lines[0] == f"read {len(PACK)}"
    assert out.read_bytes() == PACK
    assert lines[1] == "error hf://me/mine/none.zip: the repository has no file 'none.zip'."
    assert lines[2] == "error hf://me/large: more than 32 MiB."
    assert "packs found: a.solar.zip, b.solar.zip. Name one" in lines[3]
    assert lines[4].startswith("error hf://me/nobody: ")
    assert len(lines) == 5


_TO_THE_HUB = """
import sys
from solar_plugins.sharing import fetch
print(fetch.upload(open(sys.argv[1], "rb").read(), "a.solar.zip", "hf://me/mine"))
"""


def test_a_pack_to_the_hub(tmp_path: Path):
    """The calls that huggingface_hub makes: a private repository, then one commit with the file."""
    (tmp_path / "a.zip").write_bytes(PACK)
    server = serve(None)
    kind = {"Content-Type": "application/json"}
    answers = {
        "/api/repos/create": {"url": f"{server.url}/me/mine"},
        "/api/models/me/mine/preupload/main": {
            "files": [{"path": "a.solar.zip", "uploadMode": "regular", "shouldIgnore": False}]
        },
        "/api/models/me/mine/commit/main": {
            "commitUrl": f"{server.url}/me/mine/commit/c0ffee",
            "commitOid": "c0ffee",
        },
    }
    for path, answer in answers.items():
        server.answers[path] = (200, kind, json.dumps(answer).encode())
    run = subprocess.run(
        [sys.executable, "-c", _TO_THE_HUB, str(tmp_path / "a.zip")],
        env={
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_TOKEN": "hf_not_a_real_one",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NO_PROXY": "127.0.0.1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    server.shutdown()
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{server.url}/me/mine/commit/c0ffee\n"
    posted = {path.partition("?")[0]: body for path, body, _ in server.posted}
    assert list(posted) == list(answers)
    assert json.loads(posted["/api/repos/create"])["visibility"] == "private"
    lines = [json.loads(x) for x in posted["/api/models/me/mine/commit/main"].splitlines()]
    assert base64.b64decode(lines[1]["value"]["content"]) == PACK
    assert {authorization for _, _, authorization in server.posted} == {"Bearer hf_not_a_real_one"}
    assert "hf_not_a_real_one" not in run.stdout + run.stderr
