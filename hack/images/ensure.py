"""The order of sources: a folder of archives the user gives, the cache, a build."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hack.binaries import ensure_binaries
from hack.errors import ImageError
from hack.images.archive import read_references
from hack.images.build import Workshop
from hack.images.catalogue import Image, read_catalogue, recipe
from hack.images.programs import read_programs
from hack.images.store import ArchiveStore
from hack.lock import FileLock
from hack.progress import Progress


def ensure_images(
    references: Iterable[str] | None = None,
    *,
    catalogue: Mapping[str, Image] | None = None,
    store: ArchiveStore | None = None,
    rebuild: bool = False,
) -> dict[str, Path]:
    """Return the docker-archives by image reference, such as `postgres:18.6-alpine`; by default all there are.

    What is missing or outdated is built first, with progress shown, which needs root; with `rebuild` all of it is, for
    the sake of Debian's newest packages. IMAGES_DIR names a folder of archives, as `docker save` writes them, that are
    used as they are; one may hold several images. Raises ImageError.
    """
    images, archives = catalogue or read_catalogue(), store or ArchiveStore()
    known = {image.reference: image for image in images.values()}
    wanted = tuple(references) if references is not None else tuple(filter(_is_for_clusters, known))
    given = given_archives()
    if unknown := set(wanted) - set(given) - set(known):
        raise ImageError(f"unknown image {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    own = {known[reference].name: known[reference] for reference in wanted if reference not in given}
    recipes = {image.name: recipe(image, images) for image in _with_bases(own.values(), images)}
    missing = [image for name, image in own.items() if rebuild or not archives.has(image, recipes[name])]
    if missing:
        _build_all(missing, images=images, recipes=recipes, store=archives, rebuild=rebuild)
    return {
        reference: given.get(reference) or archives.path(known[reference], recipes[known[reference].name])
        for reference in wanted
    }


def given_archives() -> dict[str, Path]:
    """Return the archives in the folder IMAGES_DIR by the references each is tagged with; raises ImageError."""
    folder = os.environ.get("IMAGES_DIR", "")
    if folder and not Path(folder).is_dir():
        raise ImageError(f"IMAGES_DIR={folder}: there is no such folder")
    archives = sorted(Path(folder).absolute().glob("*.tar*")) if folder else []
    return {_familiar(reference): archive for archive in archives for reference in read_references(archive)}


def _familiar(reference: str) -> str:
    """Return the short form of a name that podman, other than docker, writes in full: `docker.io/library/postgres`."""
    return reference.removeprefix("docker.io/").removeprefix("library/")


def _is_for_clusters(reference: str) -> bool:
    """Tell bases, which are built when they are needed, from what is asked for."""
    return not reference.startswith("localhost/")


def _build_all(
    missing: list[Image],
    *,
    images: Mapping[str, Image],
    recipes: Mapping[str, str],
    store: ArchiveStore,
    rebuild: bool,
) -> None:
    """Build what is not there; another process may be doing the same, so all is looked at again under the lock."""
    if os.geteuid() != 0:
        names = ", ".join(image.name for image in missing)
        raise ImageError(f"building images ({names}) needs root: sudo make images, or give archives by IMAGES_DIR")

    def is_there(image: Image) -> bool:
        return not rebuild and store.has(image, recipes[image.name])

    # The longest part, with a lock and a progress of its own.
    ensure_binaries({name: None for image in missing for name in image.programs}, catalogue=read_programs())
    store.root.mkdir(parents=True, exist_ok=True)
    with Progress() as progress, _locked(store, progress):
        if needed := _with_bases(missing, images, is_there=is_there):
            with Workshop(store, catalogue=images, recipes=recipes, progress=progress) as workshop:
                for image in needed:
                    workshop.build(image)


@contextmanager
def _locked(store: ArchiveStore, progress: Progress) -> Iterator[None]:
    lock = FileLock(store.root / "lock")
    if not lock.acquire():
        progress.step("waiting for another process that is building images")
        lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()


def _with_bases(
    wanted: Iterable[Image], images: Mapping[str, Image], *, is_there: Callable[[Image], bool] = lambda _: False
) -> list[Image]:
    """Return the images and what they are made from, each after its bases, without those that are there."""
    needed: set[str] = set()

    def need(image: Image) -> None:
        if image.name not in needed and not is_there(image):
            needed.add(image.name)
            for base in image.bases.values():
                need(images[base])

    for image in wanted:
        need(image)
    return [image for name, image in images.items() if name in needed]
