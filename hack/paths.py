"""Where the local tooling keeps its files, by the XDG base directory convention."""

import os
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]


def cache_root() -> Path:
    """Return `$XDG_CACHE_HOME/customer-instance-operator`, `~/.cache/...` by default; it need not exist yet.

    A relative XDG_CACHE_HOME is ignored, as the XDG base directory specification demands.
    """
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "customer-instance-operator"
