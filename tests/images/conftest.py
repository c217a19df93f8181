"""The images of the catalogue, built when they are not in the cache, unpacked once a run, and run for one test."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hack.images import ensure_images, missing_requirements
from hack.images.catalogue import read_catalogue
from tests.support.image_roots import Container, UnpackedImage, unpack, why_nothing_can_run

GetImage = Callable[[str], UnpackedImage]
Run = Callable[..., Container]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> GetImage:
    """Return what unpacks an image of the catalogue, by its name there."""
    if reason := why_nothing_can_run() or missing_requirements():
        pytest.skip(reason)
    unpacked: dict[str, UnpackedImage] = {}

    def get(name: str) -> UnpackedImage:
        reference = read_catalogue()[name].reference
        if reference not in unpacked:
            archive = ensure_images([reference])[reference]
            unpacked[reference] = unpack(archive, reference, tmp_path_factory.mktemp("image") / "root")
        return unpacked[reference]

    return get


@pytest.fixture
def run(image: GetImage) -> Iterator[Run]:
    """Return what starts a container of an image, which ends with the test."""
    with ExitStack() as stack:

        def start(name: str, **options: Any) -> Container:
            container = Container(image(name), **options)
            stack.callback(container.kill)
            return container

        yield start


@pytest.fixture
def volume(tmp_path: Path) -> Callable[..., Path]:
    """Return what creates a folder as an emptyDir, or a new volume, of a pod with this fsGroup is."""

    def make(name: str, *, group: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        os.chown(folder, 0, group)
        folder.chmod(0o2777)
        return folder

    return make
