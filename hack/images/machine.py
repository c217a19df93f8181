"""The machine's own way to its package registries: mirrors, proxies and certificates, lent to a build and kept by none.

They are mounted over files of the build's root, so no image and no file of the project ever holds them.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.errors import ImageError
from hack.files import write_private

#: One file with the authorities that a Debian or Ubuntu machine trusts, its owner's own among them.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
AUTHORITIES_INSIDE = "/run/machine/ca-certificates.crt"

_APT_LOGINS = (Path("/etc/apt/auth.conf"), Path("/etc/apt/auth.conf.d"))
_APT_TARGETS = [
    "apt-get",
    "indextargets",
    "--format",
    "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
    "Created-By: Packages",
]
# Whose archives those of the machine's own release are: others have releases of the same names, as Docker a `bookworm`.
# The last one is what apt says of an archive that it has not looked into yet.
_ORIGINS = ("Debian", "Ubuntu", "$(ORIGIN)")
_APT_SETTINGS = re.compile(r'^Acquire::https?::(?:Proxy|Verify)[^ ]* "', re.IGNORECASE)
_MIRROR_LIST = "mirror+file:"
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
# pip config(1): later ones win.
_PIP_SECTIONS = ("global", "install", "download", ":env:")


@dataclass(frozen=True)
class AptSource:
    """One component of one release in one Debian archive."""

    uri: str
    release: str
    component: str


@dataclass(frozen=True)
class Mount:
    """A file or folder of the machine, and where a build sees it, read-only."""

    outside: Path
    inside: str


def mounts(folder: Path) -> list[Mount]:
    """Return what a build needs to see; generated files go to `folder`. Raises ImageError where there is no apt."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [f"deb {source.uri} {source.release} {source.component}\n" for source in apt_sources()]
    found = [
        Mount(write_private(folder / "sources.list", "".join(sources)), "/etc/apt/sources.list"),
        Mount(write_private(folder / "apt.conf", apt_settings(apt_dump())), "/etc/apt/apt.conf.d/99machine"),
        Mount(write_private(folder / "pip.conf", pip_settings(_pip_configuration())), "/etc/pip.conf"),
        *(Mount(path, str(path)) for path in _APT_LOGINS if path.exists()),
    ]
    return [*found, Mount(AUTHORITIES, AUTHORITIES_INSIDE)] if AUTHORITIES.exists() else found


def codename() -> str:
    """Return the name of this machine's release, such as `bookworm`; raises ImageError when it has none."""
    found = re.search(r"^VERSION_CODENAME=(\S+)$", Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ImageError("images are built on Debian or Ubuntu; this machine's /etc/os-release names no release")
    return found[1].strip('"')


def apt_dump() -> str:
    """Return apt's whole configuration on this machine."""
    return _run("apt-config", "dump")


def apt_sources() -> list[AptSource]:
    """Return this machine's sources of its own release, with its updates; raises ImageError when there are none."""
    return parse_apt_sources(_run(*_APT_TARGETS), release=codename())


def parse_apt_sources(targets: str, *, release: str) -> list[AptSource]:
    """Return the sources among apt's index targets that belong to a release; those of strangers are left out."""
    found = []
    for line in targets.splitlines():
        uri, of_release, component, *origin = line.split(maxsplit=3)
        if "".join(origin) in _ORIGINS and (of_release == release or of_release.startswith(f"{release}-")):
            found.append(AptSource(uri=_first_mirror(uri), release=of_release, component=component))
    if not any(source.release == release for source in found):
        raise ImageError(f"apt knows no source of {release} on this machine")
    return list(dict.fromkeys(found))


def apt_settings(dump: str) -> str:
    """Return the lines of `apt-config dump` that tell how an archive is reached, and whom to trust for it."""
    lines = [line for line in dump.splitlines() if _APT_SETTINGS.match(line)]
    return "\n".join([*lines, f'Acquire::https::CaInfo "{AUTHORITIES_INSIDE}";', ""])


def apt_proxy(dump: str) -> str | None:
    """Return the proxy for plain HTTP that `apt-config dump` names, None when it names none."""
    found = re.search(r'^Acquire::http::Proxy "(?P<proxy>[^"]+)";$', dump, re.IGNORECASE | re.MULTILINE)
    return found["proxy"] if found and found["proxy"] != "DIRECT" else None


def pip_settings(configuration: str) -> str:
    """Return a pip.conf of what `pip config list` says of the way to the package index."""
    values: dict[str, str] = {}
    for section in _PIP_SECTIONS:
        values |= _pip_section(configuration, section)
    # The authorities of a build root are Debian's alone.
    lines = [f"cert = {AUTHORITIES_INSIDE}"] if AUTHORITIES.exists() else []
    lines += [f"{name} = {_continued(value)}" for name, value in values.items()]
    return "\n".join(["[global]", *lines, ""])


def _pip_section(configuration: str, section: str) -> Mapping[str, str]:
    rows = (line.partition("=") for line in configuration.splitlines() if line.startswith(f"{section}."))
    named = {key.removeprefix(f"{section}."): value for key, _, value in rows}
    return {name: str(ast.literal_eval(value)) for name, value in named.items() if name in _PIP_SETTINGS}


def _continued(value: str) -> str:
    """Write several values as configparser reads them: each on a line of its own, indented."""
    return "\n    ".join(value.split())


def _pip_configuration() -> str:
    return _run(sys.executable, "-m", "pip", "config", "list")


def _first_mirror(uri: str) -> str:
    """Return the address itself, or the first of the file it names (apt-transport-mirror(1))."""
    if not uri.startswith(_MIRROR_LIST):
        return uri
    lines = Path(uri.removeprefix(_MIRROR_LIST).rstrip("/")).read_text(encoding="utf-8").splitlines()
    return next(line.split()[0] for line in lines if line.strip() and not line.startswith("#"))


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageError(f"{command[0]} does not work: {error}; images are built on Debian or Ubuntu") from error
    return done.stdout
