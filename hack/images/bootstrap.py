"""The root that everything grows from: Debian's or Ubuntu's own packages, put together by debootstrap."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from hack.images import machine
from hack.images.sandbox import Sandbox

# Caches, package lists, logs and the addresses of this machine's mirrors stay behind.
_LEFT_BEHIND = (
    "etc/apt/sources.list",
    "etc/hostname",
    "etc/resolv.conf",
    "var/cache/apt/archives",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "var/log",
)


def bootstrap(target: Path, *, sandbox: Sandbox, on_line: Callable[[str], None]) -> None:
    """Write the root of this machine's release to the tar file `target`; raises ImageError."""
    root = target.with_suffix(".root")
    release, sources = machine.codename(), machine.apt_sources()
    components = sorted({source.component for source in sources if source.release == release})
    mirror = next(source.uri for source in sources if source.release == release)
    sandbox.run(
        "debootstrap",
        "--variant=minbase",
        # Without a keyring it would only warn, and take whatever the mirror, or who is on the way to it, gives.
        "--force-check-gpg",
        f"--components={','.join(components)}",
        "--include=ca-certificates",
        release,
        str(root),
        mirror,
        environment=_proxy(),
        on_line=on_line,
    )
    for entry in _LEFT_BEHIND:
        _empty(root / entry)
    sandbox.run("tar", "--create", "--numeric-owner", "--file", str(target), "--directory", str(root), ".")
    shutil.rmtree(root)


def _proxy() -> dict[str, str]:
    """debootstrap fetches by wget, which knows nothing of apt's settings."""
    configured = machine.apt_proxy(machine.apt_dump())
    return {"http_proxy": configured} if configured and "http_proxy" not in os.environ else {}


def _empty(path: Path) -> None:
    """Remove a file, or the files below a folder; programs expect the folders."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file() or file.is_symlink():
            file.unlink()
