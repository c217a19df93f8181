"""The images that the manifests and the operator name by default: where each is described, and what it is made from."""

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from customer_operator.settings import Settings
from hack.images.machine import codename
from hack.images.programs import read_programs
from hack.paths import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "hack" / "images"
CONTAINERFILE = "Containerfile"
PROGRAMS = "programs"
PRODUCT = "customer-instance-operator"
PRODUCT_VERSION = "0.1.0"
# As manifests/base/mqtt-router names it.
HAPROXY = "haproxy:3.4.3-alpine"
BOOTSTRAP = "bootstrap.tar"

# `ARG BASE=python:3.13-slim`: what a registry would have. Without one our own image "python" takes the place of it.
_BASE_ARGUMENT = re.compile(r"^ARG (?P<argument>\w+)=(?P<repository>[\w./-]+):[\w.-]+$", re.MULTILINE)
_IGNORED = ("__pycache__", ".*", "*.pyc")


@dataclass(frozen=True)
class Image:
    """What one Containerfile describes.

    `reference` is the image's name for others. The context of the build is the Containerfile's own folder, or those
    files and folders of the project that `context` lists. `programs` are built by
    Go and put beside it into the folder "programs". `given` are files that no registry has: where the folder
    BINARIES_DIR has them, they are put into the folder "given". `bootstrap` asks for Debian's bootstrap.tar.
    `build_seconds` is what a build took, with its bases there, on two cores.
    """

    name: str
    reference: str
    folder: Path
    context: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    bootstrap: bool = False
    build_seconds: int = 0

    @property
    def containerfile(self) -> Path:
        """The file that describes it."""
        return self.folder / CONTAINERFILE

    @property
    def bases(self) -> Mapping[str, str]:
        """The names of the images that take the place of a registry's, by build argument."""
        text = self.containerfile.read_text(encoding="utf-8")
        return {found["argument"]: found["repository"].rpartition("/")[2] for found in _BASE_ARGUMENT.finditer(text)}

    def files(self) -> dict[str, Path]:
        """Return the files of its context by their path there."""
        root = PROJECT_ROOT if self.context else self.folder
        starts = [root / entry for entry in self.context] or [root]
        found = {file for start in starts for file in ([start] if start.is_file() else start.rglob("*"))}
        wanted = {file.relative_to(root): file for file in found if file.is_file()}
        own = {str(path): file for path, file in sorted(wanted.items()) if not _is_ignored(path)}
        return {**own, **self._given_files()}

    def _given_files(self) -> dict[str, Path]:
        folder = os.environ.get("BINARIES_DIR", "")
        files = {f"given/{name}": Path(folder).absolute() / name for name in self.given if folder}
        return {path: file for path, file in files.items() if file.is_file()}


def read_catalogue() -> dict[str, Image]:
    """Return every image by name, each after its bases."""
    images = [
        _base("debian", bootstrap=True, build_seconds=60),
        _base("python", build_seconds=20),
        _product(),
        _from_folder("mqtt-exporter", _operators_default("image_mqtt_exporter"), build_seconds=20),
        _from_folder("postgres", _operators_default("image_postgres"), build_seconds=30),
        _from_folder(
            "postgres-exporter",
            _operators_default("image_postgres_exporter"),
            programs=("postgres_exporter",),
            build_seconds=10,
        ),
        _from_folder("mosquitto", _operators_default("image_mosquitto"), given=("go-auth.so",), build_seconds=40),
        _reference("api", _operators_default("image_api"), build_seconds=40),
        _reference("dashboard", _operators_default("image_dashboard"), build_seconds=30),
        _from_folder("prometheus", "prom/prometheus:v3.14.0", programs=("prometheus", "promtool"), build_seconds=15),
        _from_folder("haproxy", HAPROXY, build_seconds=20),
    ]
    return {image.name: image for image in images}


def _base(name: str, *, bootstrap: bool = False, build_seconds: int) -> Image:
    return Image(
        name=name,
        reference=f"localhost/{name}:base",
        folder=FOLDER / name,
        bootstrap=bootstrap,
        build_seconds=build_seconds,
    )


def _product() -> Image:
    return Image(
        name=PRODUCT,
        reference=f"iotistic/{PRODUCT}:{PRODUCT_VERSION}",
        folder=FOLDER / PRODUCT,
        context=(
            "LICENSE",
            "billing_api",
            "exporters",
            f"hack/images/{PRODUCT}",
            "operator",
            "pyproject.toml",
            "requirements.txt",
        ),
        build_seconds=120,
    )


def _from_folder(
    name: str,
    reference: str,
    *,
    programs: tuple[str, ...] = (),
    given: tuple[str, ...] = (),
    build_seconds: int,
) -> Image:
    return Image(
        name=name,
        reference=reference,
        folder=FOLDER / name,
        programs=programs,
        given=given,
        build_seconds=build_seconds,
    )


def _reference(name: str, reference: str, *, build_seconds: int) -> Image:
    folder = FOLDER / "reference" / name
    return Image(
        name=name,
        reference=reference,
        folder=folder,
        context=(str(folder.relative_to(PROJECT_ROOT)), f"hack/images/{PRODUCT}/collect.py"),
        build_seconds=build_seconds,
    )


def _operators_default(setting: str) -> str:
    """Return the image that the operator names when nobody else does."""
    default: str = Settings.model_fields[setting].default
    return default


def recipe(image: Image, catalogue: Mapping[str, Image]) -> str:
    """Return the hash of everything that decides what a build yields, but for Debian's packages, which have no pins."""
    result = hashlib.sha256("\0".join((image.name, platform.machine(), image.reference)).encode())
    for path, file in {CONTAINERFILE: image.containerfile, **image.files()}.items():
        executable = bool(file.stat().st_mode & 0o100)
        result.update(f"\0{path}\0{executable}\0{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    programs = read_programs()
    for name in image.programs:
        result.update(programs[name].recipe.encode())
    if image.bootstrap:
        result.update(codename().encode())
    for base in image.bases.values():
        result.update(recipe(catalogue[base], catalogue).encode())
    return result.hexdigest()


def _is_ignored(path: Path) -> bool:
    return any(Path(part).match(pattern) for part in path.parts for pattern in _IGNORED)
