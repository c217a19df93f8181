"""Another version of an image that does the same: for updates in which the programs are not the point."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, cast


def release(archive: Path, reference: str, path: Path) -> Path:
    """Write a docker-archive of one image to `path` as another image, with this name, and return `path`."""
    with tarfile.open(archive) as source, tarfile.open(path, "w") as target:
        manifest = _read(source, "manifest.json")[0]
        configuration = _read(source, manifest["Config"])
        # Two images with the same configuration would be one.
        configuration["config"].setdefault("Labels", {})["org.opencontainers.image.version"] = reference
        content = json.dumps(configuration).encode()
        name = f"{hashlib.sha256(content).hexdigest()}.json"
        for layer in manifest["Layers"]:
            target.addfile(source.getmember(layer), source.extractfile(layer))
        _add(target, name, content)
        described = [{**manifest, "Config": name, "RepoTags": [reference]}]
        _add(target, "manifest.json", json.dumps(described).encode())
    return path


def _read(archive: tarfile.TarFile, name: str) -> Any:
    return json.load(cast("io.BufferedReader", archive.extractfile(name)))


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
