"""The order of sources: a folder of archives the user gives, the cache, a build."""

import os
from collections.abc import Iterable
from pathlib import Path

from hack.errors import ImageError
from hack.images.archive import read_references


def ensure_images(references: Iterable[str] | None = None) -> dict[str, Path]:
    """Return the docker-archives by image reference, such as `postgres:18.6-alpine`; all known ones by default.

    What is missing or outdated is built first, with progress shown. IMAGES_DIR names a folder of archives, as
    `docker save` writes them, that are used as they are. Raises ImageError.
    """
    wanted = tuple(references or ())
    given = given_archives()
    if missing := set(wanted) - set(given):
        raise ImageError(f"no archive of {', '.join(sorted(missing))} in IMAGES_DIR")
    return {reference: given[reference] for reference in wanted or given}


def given_archives() -> dict[str, Path]:
    """Return the archives in the folder IMAGES_DIR by the references each is tagged with."""
    folder = os.environ.get("IMAGES_DIR", "")
    archives = sorted(Path(folder).absolute().glob("*.tar")) if folder else []
    return {reference: archive for archive in archives for reference in read_references(archive)}
