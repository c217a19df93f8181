"""A build: the context put together, bases loaded, buildah run, and the images written to one archive."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from hack.binaries import ensure_binaries
from hack.errors import ImageError
from hack.images import machine
from hack.images.archive import rename
from hack.images.bootstrap import bootstrap
from hack.images.buildah import Buildah, environment
from hack.images.catalogue import BOOTSTRAP, CONTAINERFILE, PROGRAMS, Image, recipe
from hack.images.programs import read_programs
from hack.images.sandbox import Sandbox
from hack.images.store import ArchiveStore
from hack.progress import Progress

# "[2/3] STEP 4/7: RUN set -eu; …", whose end may be a page long.
_STEP = re.compile(r"STEP \d+/\d+: \w+")


class Workshop:
    """Builds images one after the other in a folder of the store, of which nothing is left at the end."""

    def __init__(
        self, store: ArchiveStore, *, catalogue: Mapping[str, Image], recipes: Mapping[str, str], progress: Progress
    ) -> None:
        self._store = store
        self._folder = store.build_folder
        self._catalogue = catalogue
        self._recipes = recipes
        self._progress = progress
        self._loaded: set[str] = set()

    def __enter__(self) -> Self:
        _remove(self._folder)
        self._folder.mkdir(mode=0o700, parents=True)
        self._store.log.unlink(missing_ok=True)
        try:
            self._mounts = machine.mounts(self._folder / "machine")
            self._sandbox = Sandbox(log=self._store.log, environment=environment(self._folder))
            self._buildah = Buildah(self._folder, sandbox=self._sandbox)
        except BaseException:
            _remove(self._folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _remove(self._folder)

    def build(self, image: Image) -> Path:
        """Build one image whose bases are in the store, and return its archive there; raises ImageError."""
        programs = ensure_binaries(image.programs, catalogue=read_programs()) if image.programs else {}
        self._progress.step(f"building image {image.name} (about {image.build_seconds} s)")
        context = self._folder / image.name
        stage_context(image, context, programs=programs)
        if recipe(image, self._catalogue) != self._recipes[image.name]:
            raise ImageError(f"what image {image.name} is made from has changed meanwhile: run it again")
        if image.bootstrap:
            bootstrap(context / BOOTSTRAP, sandbox=self._sandbox, on_line=self._show_package)
        arguments = {argument: self._load_base(base) for argument, base in image.bases.items()}
        self._buildah.build(context, image.reference, arguments=arguments, mounts=self._mounts, on_line=self._show_step)
        saved, complete = self._folder / "saved.tar", self._folder / "complete.tar"
        self._buildah.save(image.reference, saved)
        rename(saved, image.reference, complete)
        shutil.rmtree(context)
        self._loaded.add(image.name)
        return self._store.publish(image, self._recipes[image.name], complete)

    def _load_base(self, name: str) -> str:
        base = self._catalogue[name]
        if name not in self._loaded:
            self._buildah.load(self._store.path(base, self._recipes[name]), base.reference)
            self._loaded.add(name)
        return base.reference

    def _show_step(self, line: str) -> None:
        if found := _STEP.search(line):
            self._progress.detail(found.group())

    def _show_package(self, line: str) -> None:
        self._progress.detail(line.removeprefix("I: "))


def stage_context(image: Image, context: Path, *, programs: Mapping[str, Path]) -> None:
    """Copy the files of an image to its context, readable by everybody whatever the umask was."""
    files = {CONTAINERFILE: image.containerfile, **image.files()}
    for path, file in {**files, **{f"{PROGRAMS}/{name}": program for name, program in programs.items()}}.items():
        target = context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
    for folder in (context, *(entry for entry in context.rglob("*") if entry.is_dir())):
        folder.chmod(0o755)


def _remove(folder: Path) -> None:
    """Remove a folder that builds have used, unless something is still mounted in it, which would be removed too."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    if any(point.startswith(f"{folder}/") for point in mounted):
        raise ImageError(f"something is mounted below {folder}: unmount it first")
    shutil.rmtree(folder, ignore_errors=True)
