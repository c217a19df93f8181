"""The stand-in for mosquitto-go-auth, built from hack/images/mosquitto/plugin and kept in the cache folder.

Used by the tests where nobody has given the plugin itself. The image builds its own, by the same Makefile.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from hack.errors import BinaryError
from hack.lock import FileLock
from hack.paths import PROJECT_ROOT, cache_root

SOURCES: Final = PROJECT_ROOT / "hack" / "images" / "mosquitto" / "plugin"
PLUGIN: Final = "go-auth.so"
DRIVER: Final = "driver"  # calls the plugin's functions without a broker
BUILD_TIMEOUT: Final = 600.0  # five seconds on two cores that have nothing else to do

# What the compiler must find, and the Debian package that has it; PostgreSQL's headers have a folder of their own.
_HEADERS: Final = {
    "stdlib.h": "libc6-dev",
    "crypt.h": "libcrypt-dev",
    "openssl/hmac.h": "libssl-dev",
    "postgresql/libpq-fe.h": "libpq-dev",
    "mosquitto.h": "libmosquitto-dev",
    "mosquitto_plugin.h": "mosquitto-dev",
}


def given_plugin() -> Path | None:
    """Return mosquitto-go-auth itself, which no package registry has, from the folder BINARIES_DIR."""
    folder = os.environ.get("BINARIES_DIR", "")
    path = Path(folder).absolute() / PLUGIN
    return path if folder and path.is_file() else None


def missing_packages() -> list[str]:
    """Return the Debian packages without which the plugin cannot be built here."""
    if shutil.which("cc") is None:
        return ["gcc", *_HEADERS.values()]
    return [package for header, package in _HEADERS.items() if not _has(header)]


def build_plugin(target: str = PLUGIN, *, sanitized: bool = False, cache: Path | None = None) -> Path:
    """Return the plugin, or the driver of its tests, built first unless that has been done from the same sources.

    A sanitized one ends its process at the first wrong access to memory. Raises BinaryError.
    """
    store = cache or cache_root() / "broker-plugin"
    built = store / source_hash(sanitized=sanitized) / target
    if built.exists():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store / "lock")
    lock.acquire(wait=True)
    try:
        if not built.exists():
            _make(built, sanitized=sanitized)
    finally:
        lock.release()
    return built


def source_hash(*, sanitized: bool) -> str:
    """Return the hash of all that decides what a build yields: sources, Makefile, compiler and variant."""
    result = hashlib.sha256(f"{_run(['cc', '--version']).stdout}\0{sanitized}".encode())
    for file in sorted(file for file in SOURCES.rglob("*") if file.is_file()):
        content = file.read_bytes()
        result.update(f"\0{file.relative_to(SOURCES)}\0{len(content)}\0".encode() + content)
    return result.hexdigest()


def _make(built: Path, *, sanitized: bool) -> None:
    """Build beside the place and move there, so that nobody finds half a file."""
    folder = built.with_name(f"{built.name}.{os.getpid()}")
    folder.mkdir(exist_ok=True)
    try:
        done = _run(["make", "-C", SOURCES, f"OUT={folder}", f"SANITIZE={1 if sanitized else ''}", folder / built.name])
        if done.returncode:
            raise BinaryError(f"building {built.name} from {SOURCES} (make system-packages):\n{done.stderr.strip()}")
        (folder / built.name).replace(built)
    finally:
        shutil.rmtree(folder)


def _has(header: str) -> bool:
    return _run(["cc", "-E", "-xc", "-o", os.devnull, "-"], text=f"#include <{header}>\n").returncode == 0


def _run(command: list[str | Path], *, text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", timeout=BUILD_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BinaryError(f"building the broker's plugin (make system-packages): {error}") from error
