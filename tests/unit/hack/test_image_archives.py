"""docker-archives are read, and several become one."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hack.errors import ImageError
from hack.images.archive import combine, read_images, read_references

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


def test_combined_images_have_exactly_the_names_asked_for_and_share_their_layers(tmp_path: Path) -> None:
    sources = {
        "org/a:1": write_archive(tmp_path / "a.tar", reference="a:1", command="serve"),
        "org/b:1": write_archive(tmp_path / "b.tar", reference="b:1", command="export"),
    }
    target = tmp_path / "both.tar"
    combine(sources, target)
    assert read_references(target) == ["org/a:1", "org/b:1"]
    assert [image.configuration["Cmd"] for image in read_images(target)] == [["serve"], ["export"]]
    with tarfile.open(target) as tar:
        names = tar.getnames()
        content = tar.extractfile("app.tar")
        assert content is not None
        assert content.read() == LAYERS["app.tar"]
    assert sorted(names) == ["app.tar", "base.tar", "export.json", "manifest.json", "serve.json"]


def test_one_image_by_two_names_is_there_once(tmp_path: Path) -> None:
    source = write_archive(tmp_path / "a.tar", reference="a:1", command="serve")
    combine({"a:1": source, "a:latest": source}, tmp_path / "both.tar")
    assert [image.references for image in read_images(tmp_path / "both.tar")] == [("a:1", "a:latest")]


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
