"""A pack's bytes: from a file, an https address, or a repository on the Hugging Face Hub."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from solar_plugins import __version__
from solar_plugins.errors import SolarError
from solar_plugins.sharing.trust.archive import MAX_PACK_BYTES, SUFFIX
from solar_plugins.sharing.trust.names import printable

HUB = "hf://"
_TIMEOUT_S = 30


def read_source(source: str) -> bytes:
    """The bytes of the pack at `source`.

    Args:
        source: A file; ``https://…``; or ``hf://owner/name[@revision][/file]``.

    Raises:
        SolarError: it is not there, not reachable, too large, or no address of these kinds.
    """
    if source.startswith(HUB):
        return _read_hub(source)
    if "://" in source:
        return read_url(source)
    return _read_file(Path(source))


def _read_file(path: Path) -> bytes:
    if path.is_dir():
        raise SolarError(f"{path}: is a folder. Name the file that `solar pack` wrote.")
    if not path.is_file():
        raise SolarError(f"{path}: no such file.")
    if path.stat().st_size > MAX_PACK_BYTES:
        raise _too_large(path)
    return path.read_bytes()


def _too_large(source: object) -> SolarError:
    return SolarError(f"{source}: more than {MAX_PACK_BYTES >> 20} MiB. A pack holds text only.")


def read_url(url: str, verify: ssl.SSLContext | bool = True) -> bytes:
    """Read an https address, block by block, up to the size that a pack may have.

    A redirect is followed to another https address, and to nothing else.

    Args:
        verify: Which certificates are trusted; those that come with httpx by default.

    Raises:
        SolarError: it is not https, not reachable, or too large.
    """
    import httpx

    shown = printable(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SolarError(f"{shown}: no address: {printable(error)}.") from None
    if parts.scheme != "https":
        raise SolarError(f"{shown}: not an https address. A pack comes by https, hf:// or a file.")
    if parts.username or parts.password:
        way = "Download the file yourself and name it."
        raise SolarError(f"{parts.scheme}://…@{parts.hostname}: a password in an address. {way}")

    def https_only(request: httpx.Request) -> None:
        if request.url.scheme not in ("https", ""):
            raise SolarError(f"{shown}: leads on to {printable(request.url)}, which is not https.")

    # Raw, since a compressed answer could grow without end.
    headers = {"User-Agent": f"solar-plugins/{__version__}", "Accept-Encoding": "identity"}
    client = httpx.Client(
        verify=verify,
        headers=headers,
        timeout=_TIMEOUT_S,
        follow_redirects=True,
        event_hooks={"request": [https_only]},
    )
    data = bytearray()
    try:
        with client, client.stream("GET", url) as answer:
            if not answer.is_success:
                found = f"{answer.status_code} {answer.reason_phrase}"
                raise SolarError(f"{shown}: the server says {found}.")
            for block in answer.iter_raw():
                data += block
                if len(data) > MAX_PACK_BYTES:
                    raise _too_large(shown)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise SolarError(f"{shown}: not reachable: {printable(error)}.") from None
    return bytes(data)


def _read_hub(source: str) -> bytes:
    """The pack in a Hub repository: the file that is named, or the only one that is a pack."""
    from huggingface_hub import HfApi, hf_hub_download

    repository, revision, file = split_hub(source)
    with hub_errors(source):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        sizes = {entry.rfilename: entry.size for entry in info.siblings or []}
        packs = [name for name in sizes if name.endswith(SUFFIX)]
        if file is None:
            if len(packs) != 1:
                found = ", ".join(map(printable, packs)) or "none"
                way = f"Name one: {HUB}{repository}/FILE{SUFFIX}."
                raise SolarError(f"{source}: packs found: {found}. {way}")
            file = packs[0]
        if file not in sizes:
            raise SolarError(f"{source}: the repository has no file {printable(file)!r}.")
        if (sizes[file] or 0) > MAX_PACK_BYTES:
            raise SolarError(f"{source}: more than {MAX_PACK_BYTES >> 20} MiB.")
        # By its commit: what was listed is what is read.
        return _read_file(Path(hf_hub_download(repository, file, revision=info.sha)))


def upload(data: bytes, file: str, target: str) -> str:
    """Put a pack into a Hub repository, which is made if it is not there; returns its address."""
    from huggingface_hub import HfApi

    repository, revision, named = split_hub(target)
    with hub_errors(target):
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        commit = api.upload_file(
            path_or_fileobj=data,
            path_in_repo=named or file,
            repo_id=repository,
            revision=revision,
            commit_message=f"solar pack: {named or file}",
        )
    return commit.commit_url


def split_hub(source: str) -> tuple[str, str | None, str | None]:
    """``hf://owner/name@revision/file`` as (``owner/name``, revision, file).

    Raises:
        SolarError: it is not of that form.
    """
    found = re.fullmatch(r"(?:hf://)?([^/]+/[^/@]+)(?:@([^/]*))?(?:/(.*))?", source)
    if found is None:
        raise SolarError(f"{printable(source)}: not a repository. Write {HUB}OWNER/NAME.")
    return found[1], found[2] or None, found[3] or None


@contextmanager
def hub_errors(source: str) -> Iterator[None]:
    """Turns what huggingface_hub raises into one line that begins with the address."""
    from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled

    # HTTPError is that of the Hub's client: httpx's in its version 1, httpx2's in version 2.
    raised = (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError)
    try:
        yield
    except raised as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise SolarError(f"{printable(source)}: {printable(said[0])}") from None
