"""docker-archives: the tar files that `docker save` writes and `docker load` and `ctr images import` read."""

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hack.errors import ImageError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ArchivedImage:
    """One image of an archive.

    `configuration` is what runs it (`config` of the OCI image specification: User, Entrypoint, Cmd, Env, Labels);
    `size` is that of its files, unpacked and in bytes; `layers` are members of the archive, lowest first.
    """

    references: tuple[str, ...]
    configuration: Mapping[str, Any]
    layers: tuple[str, ...]
    size: int


def read_images(archive: Path) -> list[ArchivedImage]:
    """Return the images of an archive; raises ImageError when it is no docker-archive."""
    with _opened(archive) as tar:
        return [
            ArchivedImage(
                references=tuple(entry["RepoTags"] or ()),
                configuration=json.loads(_read(tar, entry["Config"])).get("config", {}),
                layers=tuple(entry["Layers"]),
                size=sum(tar.getmember(layer).size for layer in entry["Layers"]),
            )
            for entry in json.loads(_read(tar, MANIFEST))
        ]


def read_references(archive: Path) -> list[str]:
    """Return the names of all images of an archive; raises ImageError when it is no docker-archive."""
    with _opened(archive) as tar:
        return [reference for entry in json.loads(_read(tar, MANIFEST)) for reference in entry["RepoTags"] or ()]


def rename(source: Path, reference: str, target: Path) -> None:
    """Write the first image of an archive to another one, where `reference` is its only name; raises ImageError."""
    with _opened(source) as opened, target.open("wb") as file:
        entry = json.loads(_read(opened, MANIFEST))[0]
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name in dict.fromkeys((entry["Config"], *entry["Layers"])):
                content = opened.extractfile(name)
                if content:
                    _write(tar, name, content)
            _write(tar, MANIFEST, io.BytesIO(json.dumps([{**entry, "RepoTags": [reference]}]).encode()))
        file.flush()
        os.fsync(file.fileno())


def _write(tar: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    tar.addfile(member, content)


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    return content.read() if content else b""


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive) as tar:
            yield tar
    except (OSError, KeyError, IndexError, TypeError, ValueError, tarfile.TarError) as error:
        raise ImageError(f"{archive} is not a docker-archive: {error}") from error
