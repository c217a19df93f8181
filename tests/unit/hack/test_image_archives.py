"""docker-archives are read and renamed."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hack.errors import ImageError
from hack.images.archive import read_images, read_references, rename

LAYERS = {"base.tar": b"b" * 2048, "app.tar": b"a" * 1024}


def write_archive(path: Path, *, reference: str, command: str, layers: dict[str, bytes] = LAYERS) -> Path:
    """Write what `buildah push` writes: names of its own, and links for programs of long ago."""
    configuration = json.dumps({"architecture": "amd64", "config": {"User": "70:70", "Cmd": [command]}}).encode()
    entry = {
        "Config": f"{command}.json",
        "RepoTags": [f"docker.io/library/{reference}", reference],
        "Layers": list(layers),
    }
    files = {**layers, f"{command}.json": configuration, "manifest.json": json.dumps([entry]).encode()}
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_tells_what_is_in_it(tmp_path: Path) -> None:
    [image] = read_images(write_archive(tmp_path / "a.tar", reference="a:1", command="serve"))
    assert image.references == ("docker.io/library/a:1", "a:1")
    assert image.configuration == {"User": "70:70", "Cmd": ["serve"]}
    assert image.layers == ("base.tar", "app.tar")
    assert image.size == 3072


def test_a_renamed_image_has_exactly_this_name_and_nothing_else_has_changed(tmp_path: Path) -> None:
    source, target = write_archive(tmp_path / "a.tar", reference="a:1", command="serve"), tmp_path / "renamed.tar"
    rename(source, "org/a:1", target)
    assert read_references(target) == ["org/a:1"]
    assert replace(read_images(target)[0], references=()) == replace(read_images(source)[0], references=())
    with tarfile.open(target) as tar:
        content = tar.extractfile("app.tar")
        assert content is not None
        assert content.read() == LAYERS["app.tar"]
        assert sorted(tar.getnames()) == ["app.tar", "base.tar", "manifest.json", "serve.json"]


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, None])
def test_what_is_no_archive_is_told_by_its_path(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "junk.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=r"junk\.tar is not a docker-archive"):
        read_images(path)


def test_a_tar_of_something_else_is_told_too(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("index.json"))
    with pytest.raises(ImageError, match="is not a docker-archive"):
        read_references(tmp_path / "other.tar")
