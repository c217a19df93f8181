"""The programs of the local control plane, at pinned versions, from wherever they can be had."""

from hack.binaries.ensure import ensure_binaries

__all__ = ["ensure_binaries"]
