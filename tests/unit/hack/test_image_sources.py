"""Where an image comes from: a folder the user gives, the cache, a build, which needs root."""

import gzip
import os
import time
from pathlib import Path
from typing import Self

import pytest

from hack.errors import ImageError
from hack.images import ensure
from hack.images.catalogue import Image, recipe
from hack.images.ensure import ensure_images
from hack.images.store import ArchiveStore
from tests.unit.hack.test_image_archives import write_archive


@pytest.fixture
def catalogue(tmp_path: Path) -> dict[str, Image]:
    images = {}
    for name, containerfile in {
        "debian": "FROM scratch\n",
        "python": "ARG BASE=debian:12\nFROM ${BASE}\n",
        "app": "ARG BASE=python:3\nFROM ${BASE}\n",
        "tool": "ARG BASE=debian:12\nFROM ${BASE}\n",
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Containerfile").write_text(containerfile)
        prefix = "localhost/" if name in {"debian", "python"} else ""
        images[name] = Image(name=name, reference=f"{prefix}{name}:1", folder=folder)
    return images


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArchiveStore:
    monkeypatch.delenv("IMAGES_DIR", raising=False)
    archives = ArchiveStore(tmp_path / "images")
    archives.root.mkdir()
    return archives


def cache(store: ArchiveStore, image: Image, catalogue: dict[str, Image]) -> Path:
    finished = write_archive(store.root / "finished.tar", reference=f"{image.name}:1", command=image.name)
    return store.publish(image, recipe(image, catalogue), finished)


def test_cached_archives_need_no_root(
    catalogue: dict[str, Image], store: ArchiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    archives = {f"{name}:1": cache(store, catalogue[name], catalogue) for name in ("app", "tool")}
    assert ensure_images(catalogue=catalogue, store=store) == archives


def test_without_root_a_build_is_refused_in_one_line_that_names_the_images(
    catalogue: dict[str, Image], store: ArchiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    cache(store, catalogue["tool"], catalogue)
    with pytest.raises(ImageError, match=r"^building images \(app\) needs root: [^\n]*$"):
        ensure_images(catalogue=catalogue, store=store)


def test_an_outdated_archive_is_not_used(
    catalogue: dict[str, Image], store: ArchiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    cache(store, catalogue["app"], catalogue)
    catalogue["debian"].containerfile.write_text("FROM scratch\nENV A=b\n")
    with pytest.raises(ImageError, match="needs root"):
        ensure_images(["app:1"], catalogue=catalogue, store=store)


def test_a_given_archive_is_used_as_it_is(
    catalogue: dict[str, Image], store: ArchiveStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "given").mkdir()
    given = write_archive(tmp_path / "given" / "any-name.tar", reference="tool:1", command="tool")
    monkeypatch.setenv("IMAGES_DIR", str(tmp_path / "given"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ensure_images(["tool:1"], catalogue=catalogue, store=store) == {"tool:1": given}


@pytest.mark.parametrize(
    ("file", "tag"),
    [("any-name.tar.gz", "tool:1"), ("docker.tar", "docker.io/library/tool:1"), ("podman.tar", "docker.io/tool:1")],
)
def test_a_given_archive_may_be_compressed_and_name_its_image_in_full(
    catalogue: dict[str, Image],
    store: ArchiveStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    tag: str,
) -> None:
    (tmp_path / "given").mkdir()
    given = write_archive(tmp_path / "given" / file, reference=tag, command="tool")
    if given.suffix == ".gz":
        given.write_bytes(gzip.compress(given.read_bytes()))
    monkeypatch.setenv("IMAGES_DIR", str(tmp_path / "given"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ensure_images(["tool:1"], catalogue=catalogue, store=store) == {"tool:1": given}


def test_a_folder_of_archives_that_is_not_there_is_told(
    catalogue: dict[str, Image], store: ArchiveStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives real images must not be left with stand-ins."""
    cache(store, catalogue["tool"], catalogue)
    monkeypatch.setenv("IMAGES_DIR", str(tmp_path / "mistyped"))
    with pytest.raises(ImageError, match=r"^IMAGES_DIR=.*mistyped: there is no such folder$"):
        ensure_images(["tool:1"], catalogue=catalogue, store=store)


def test_an_unknown_image_is_refused_with_those_there_are(catalogue: dict[str, Image], store: ArchiveStore) -> None:
    with pytest.raises(ImageError, match=r"unknown image nobody:1: there are localhost/debian:1, .*tool:1"):
        ensure_images(["app:1", "nobody:1"], catalogue=catalogue, store=store)


class FakeWorkshop:
    """Takes the place of a Workshop, which needs root and minutes: notes what would be built."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def __call__(self, _store: ArchiveStore, **_settings: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def build(self, image: Image) -> None:
        self.built.append(image.name)


@pytest.mark.parametrize(("rebuild", "built"), [(False, []), (True, ["debian", "python", "app"])])
@pytest.mark.parametrize("hours", [0, 2, 300])
def test_a_rebuild_makes_an_image_and_its_bases_anew_however_old_they_are(
    catalogue: dict[str, Image],
    store: ArchiveStore,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
    rebuild: bool,
    built: list[str],
) -> None:
    workshop = FakeWorkshop()
    monkeypatch.setattr(ensure, "Workshop", workshop)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("debian", "python", "app"):
        archive = cache(store, catalogue[name], catalogue)
        os.utime(archive, (0, time.time() - hours * 3600))
    ensure_images(["app:1"], catalogue=catalogue, store=store, rebuild=rebuild)
    assert workshop.built == built


@pytest.mark.parametrize(
    ("there", "wanted", "built"),
    [
        ((), ("app",), ["debian", "python", "app"]),
        ((), ("tool", "app"), ["debian", "python", "app", "tool"]),
        (("debian",), ("app",), ["python", "app"]),
        (("debian", "python", "app"), ("app", "tool"), ["tool"]),
    ],
)
def test_bases_are_built_first_and_only_where_they_are_missing(
    catalogue: dict[str, Image], there: tuple[str, ...], wanted: tuple[str, ...], built: list[str]
) -> None:
    needed = ensure._with_bases(
        [catalogue[name] for name in wanted], catalogue, is_there=lambda image: image.name in there
    )
    assert [image.name for image in needed] == built


def test_archives_that_nobody_has_wanted_for_long_go_when_a_new_one_comes(
    catalogue: dict[str, Image], store: ArchiveStore
) -> None:
    ages = {"0" * 12: 15, "1" * 12: 13}
    for name, days in ages.items():
        old = store.root / f"app-{name}.tar"
        old.write_bytes(b"")
        os.utime(old, (0, time.time() - days * 86400))
    other = store.root / f"app-of-another-name-{'0' * 12}.tar"
    other.write_bytes(b"")
    os.utime(other, (0, 0))
    new = cache(store, catalogue["app"], catalogue)
    assert set(store.root.glob("*.tar")) == {new, other, store.root / f"app-{'1' * 12}.tar"}


def test_an_archive_that_is_asked_for_counts_as_wanted(catalogue: dict[str, Image], store: ArchiveStore) -> None:
    archive = cache(store, catalogue["app"], catalogue)
    os.utime(archive, (0, 0))
    ensure_images(["app:1"], catalogue=catalogue, store=store)
    assert time.time() - archive.stat().st_mtime < 60
