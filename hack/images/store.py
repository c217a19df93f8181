"""The cache of archives: a file's name tells what it was made from, and it appears complete or not at all."""

import time
from pathlib import Path

from hack.images.catalogue import Image
from hack.paths import cache_root

_HASH_SHOWN = 12
# Checkouts share the cache: what another one has used lately stays.
_UNUSED_SECONDS = 14 * 86400.0


class ArchiveStore:
    """Archives below a folder, `$XDG_CACHE_HOME/customer-instance-operator/images` by default."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_root() / "images"

    @property
    def build_folder(self) -> Path:
        """Where builds happen; only the holder of the store's lock may use it."""
        return self.root / "build"

    @property
    def log(self) -> Path:
        """What the latest builds said."""
        return self.root / "build.log"

    def path(self, image: Image, recipe: str) -> Path:
        """Return where the archive of an image belongs."""
        return self.root / f"{image.name}-{recipe[:_HASH_SHOWN]}.tar"

    def has(self, image: Image, recipe: str) -> bool:
        """Tell whether the archive is there, and remember that it is wanted."""
        path = self.path(image, recipe)
        if not path.is_file():
            return False
        if time.time() - path.stat().st_mtime > 3600:  # often enough, and no write for every test
            path.touch()
        return True

    def publish(self, image: Image, recipe: str, file: Path) -> Path:
        """Move a finished archive to its place, remove what nobody has wanted for long, and return the place."""
        path = self.path(image, recipe)
        file.replace(path)
        for other in self.root.glob(f"{image.name}-{'?' * _HASH_SHOWN}.tar"):
            if other != path and time.time() - other.stat().st_mtime > _UNUSED_SECONDS:
                other.unlink()
        return path
