"""docker-archives: the tar files that `docker save` writes and `docker load` and `ctr images import` read."""

import json
import tarfile
from pathlib import Path
from typing import Any

from hack.errors import ImageError

MANIFEST = "manifest.json"


def read_references(archive: Path) -> list[str]:
    """Return the names by which an archive's image is known; raises ImageError when it is no docker-archive."""
    references: list[str] = _read_manifest(archive)["RepoTags"] or []
    return references


def _read_manifest(archive: Path) -> dict[str, Any]:
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile(MANIFEST)
            entries = json.load(member) if member else []
        entry: dict[str, Any] = entries[0]
        return entry
    except (OSError, KeyError, IndexError, ValueError, tarfile.TarError) as error:
        raise ImageError(f"{archive} is not a docker-archive: {error}") from error
