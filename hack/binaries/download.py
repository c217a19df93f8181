"""Official releases: whether they can be reached is found out once and quickly; nothing is used without its checksum.

With BINARIES_MIRROR=URL every address is looked up below URL, as URL/HOST/PATH.
"""

import hashlib
import http.client
import json
import os
import queue
import shutil
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from hack.binaries.catalogue import Download, Program
from hack.errors import BinaryError

# Long enough for a slow line to answer with a few kilobytes, and all that a machine without internet ever waits.
PROBE_TIMEOUT = 2.0
READ_TIMEOUT = 30.0
CHUNK = 1 << 20
CHECKSUM_FILE_LIMIT = 4 << 20

_NETWORK_ERRORS = (OSError, http.client.HTTPException)


def mirrored(url: str) -> str:
    """Return where `url` is to be fetched: at the mirror when one is set."""
    mirror = os.environ.get("BINARIES_MIRROR", "")
    if not mirror:
        return url
    address = urlsplit(url)
    return f"{mirror.rstrip('/')}/{address.netloc}{address.path}"


def probe(programs: Iterable[Program], *, timeout: float = PROBE_TIMEOUT) -> dict[str, str]:
    """Return the published SHA-256 by program name, of those whose release answers within `timeout` seconds.

    All are asked at the same time, by threads that are left behind when the time is up: looking up a host's name
    has no timeout of its own and may take far longer.
    """
    wanted = [(program.name, program.download) for program in programs if program.download]
    answers: queue.Queue[tuple[str, str | None]] = queue.Queue()
    for name, release in wanted:
        threading.Thread(target=_ask, args=(name, release, timeout, answers), daemon=True).start()
    deadline = time.monotonic() + timeout
    found: dict[str, str] = {}
    for _ in wanted:
        try:
            name, checksum = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if checksum:
            found[name] = checksum
    return found


def download(release: Download, *, sha256: str, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Fetch `release`, verify it, and write its binary to `target`.

    `on_bytes` is told how many bytes have arrived so far. Raises BinaryError when the release cannot be fetched or
    is not what its publisher says; then `target` holds nothing of use.
    """
    archive = target.with_name(f"{target.name}.download")
    try:
        actual = _fetch(mirrored(release.url), archive, on_bytes)
        if actual != sha256:
            raise BinaryError(f"{release.url}: SHA-256 is {actual}, its publisher says {sha256}")
        if release.member is None:
            archive.replace(target)
        else:
            _extract(archive, release.member, target)
    except (*_NETWORK_ERRORS, tarfile.TarError) as error:
        raise BinaryError(f"{release.url}: {error}") from error
    finally:
        archive.unlink(missing_ok=True)


def find_checksum(content: str, filename: str) -> str | None:
    """Return the SHA-256 of `filename` in a published list, None when it is not there.

    Understands a lone hash, the output of sha256sum, and GitHub's description of a release (`assets[].digest`).
    """
    if content.lstrip().startswith("{"):
        hashes = {asset["name"]: asset.get("digest") or "" for asset in json.loads(content)["assets"]}
        candidate = hashes.get(filename, "").removeprefix("sha256:")
    else:
        rows = [line.split() for line in content.splitlines()]
        candidate = next((row[0] for row in rows if row and row[1:] in ([], [filename], [f"*{filename}"])), "")
    is_sha256 = len(candidate) == 64 and all(digit in "0123456789abcdef" for digit in candidate.lower())
    return candidate.lower() if is_sha256 else None


def _ask(name: str, release: Download, timeout: float, answers: "queue.Queue[tuple[str, str | None]]") -> None:
    filename = release.url.rpartition("/")[2]
    try:
        with _open(mirrored(release.checksum_url), timeout) as response:
            content = response.read(CHECKSUM_FILE_LIMIT).decode()
        answers.put((name, find_checksum(content, filename)))
    except (*_NETWORK_ERRORS, ValueError, KeyError, TypeError):
        answers.put((name, None))


def _fetch(url: str, target: Path, on_bytes: Callable[[int], None]) -> str:
    """Write what `url` answers to `target` and return its SHA-256."""
    result = hashlib.sha256()
    received = 0
    with _open(url, READ_TIMEOUT) as response, target.open("wb") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            result.update(chunk)
            received += len(chunk)
            on_bytes(received)
    return result.hexdigest()


def _open(url: str, timeout: float) -> IO[bytes]:
    # The addresses are constants of the catalogue, or the user's own mirror.
    response: IO[bytes] = urllib.request.urlopen(url, timeout=timeout)  # noqa: S310
    return response


def _extract(archive: Path, member: str, target: Path) -> None:
    with tarfile.open(archive) as tar:
        try:
            content = tar.extractfile(member)
        except KeyError:
            content = None
        if content is None:
            raise BinaryError(f"{archive.name} holds no file {member}")
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
