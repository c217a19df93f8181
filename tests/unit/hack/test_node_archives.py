"""docker-archives of a few files: what containerd is given, byte by byte."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from hack.node.archive import Image, write_archive


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(b"program")
    return path


@pytest.fixture
def image(program: Path) -> Image:
    return Image(
        "localhost/tool:1", files={"/usr/bin/tool": program}, links={"/bin/sh": "tool"}, entrypoint=["/bin/sh"]
    )


def read_member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        member = tar.extractfile(name)
        assert member
        return member.read()


def test_the_configuration_names_the_layer_by_its_hash_and_the_manifest_names_both(
    image: Image, tmp_path: Path
) -> None:
    archive = write_archive(image, tmp_path / "image.tar")
    (manifest,) = json.loads(read_member(archive, "manifest.json"))
    configuration = read_member(archive, manifest["Config"])
    layer = read_member(archive, manifest["Layers"][0])
    assert manifest["RepoTags"] == ["localhost/tool:1"]
    assert manifest["Config"] == f"{hashlib.sha256(configuration).hexdigest()}.json"
    assert json.loads(configuration)["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]


def test_an_image_runs_its_program_as_nobody_in_particular(image: Image, tmp_path: Path) -> None:
    archive = write_archive(image, tmp_path / "image.tar")
    (manifest,) = json.loads(read_member(archive, "manifest.json"))
    configuration = json.loads(read_member(archive, manifest["Config"]))["config"]
    assert configuration["Entrypoint"] == ["/bin/sh"]
    assert configuration["User"] == "65532:65532"


def test_the_layer_holds_folders_files_and_links(image: Image, tmp_path: Path) -> None:
    archive = write_archive(image, tmp_path / "image.tar")
    with tarfile.open(fileobj=io.BytesIO(read_member(archive, "layer.tar"))) as layer:
        members = {entry.name: entry for entry in layer}
    assert list(members) == ["bin", "usr", "usr/bin", "usr/bin/tool", "bin/sh"]
    assert members["usr/bin/tool"].mode == 0o755
    assert members["bin/sh"].linkname == "tool"


def test_the_same_files_make_the_same_bytes(image: Image, tmp_path: Path) -> None:
    first, second = (write_archive(image, tmp_path / name).read_bytes() for name in ("first.tar", "second.tar"))
    assert first == second
