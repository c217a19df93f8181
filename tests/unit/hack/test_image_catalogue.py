"""The catalogue knows every image that something names, and tells when one is out of date."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from customer_operator.settings import Settings
from hack.images.build import stage_context
from hack.images.catalogue import PRODUCT, PRODUCT_VERSION, Image, read_catalogue, recipe
from hack.images.programs import read_programs
from hack.paths import PROJECT_ROOT

CATALOGUE = read_catalogue()
REFERENCES = {image.reference for image in CATALOGUE.values()}


def images_of_the_manifests() -> set[str]:
    documents = [
        document
        for file in (PROJECT_ROOT / "manifests").rglob("*.yaml")
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document and document["kind"] in {"Deployment", "StatefulSet"}
    ]
    pods = [document["spec"]["template"]["spec"] for document in documents]
    return {container["image"] for pod in pods for container in pod["containers"]}


def test_every_image_that_the_operator_names_by_default_is_there() -> None:
    assert set(Settings().images.values()) <= REFERENCES


def test_every_image_that_the_manifests_name_is_there() -> None:
    assert images_of_the_manifests() <= REFERENCES


def test_the_product_has_the_version_of_the_project() -> None:
    text = (PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{PRODUCT_VERSION}"\n' in text
    assert f"ARG VERSION={PRODUCT_VERSION}\n" in CATALOGUE[PRODUCT].containerfile.read_text(encoding="utf-8")


def test_every_image_comes_after_its_bases() -> None:
    names = list(CATALOGUE)
    for image in CATALOGUE.values():
        assert all(names.index(base) < names.index(image.name) for base in image.bases.values())


@pytest.mark.parametrize("image", CATALOGUE.values(), ids=CATALOGUE)
def test_a_containerfile_names_no_address_and_ends_as_a_user_without_privileges(image: Image) -> None:
    text = image.containerfile.read_text(encoding="utf-8")
    assert "://" not in text
    if image.name not in {"debian", "python"}:
        users = re.findall(r"^USER (.*)$", text, re.MULTILINE)
        assert users
        assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)


@pytest.mark.parametrize("name", ["postgres_exporter", "prometheus", "promtool"])
def test_a_program_carries_its_version_into_the_address_and_the_linker_flags(name: str) -> None:
    program = read_programs({"PROMETHEUS_VERSION": "v3.99.1", "POSTGRES_EXPORTER_VERSION": "v3.99.1"})[name]
    assert program.version == "v3.99.1"
    assert program.download is not None
    assert "/v3.99.1/" in program.download.url
    assert program.download.member is not None
    assert program.download.member.endswith(f"/{name}")
    assert "version.Version=3.99.1" in program.linker_flags


def test_a_stand_in_has_the_package_that_the_billing_api_embeds() -> None:
    pinned = (CATALOGUE["postgres"].folder / "requirements.txt").read_text(encoding="utf-8")
    assert pinned.strip() in (PROJECT_ROOT / "requirements-dev.txt").read_text(encoding="utf-8")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    folder = tmp_path / "thing"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "Containerfile").write_text("ARG BASE=debian:bookworm-slim\nFROM ${BASE}\nCOPY entrypoint /\n")
    (folder / "entrypoint").write_text("#!/bin/sh\n")
    (folder / "entrypoint").chmod(0o755)
    (folder / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"")
    (folder / ".hidden").write_text("")
    return Image(name="thing", reference="org/thing:1", folder=folder)


def test_a_context_is_the_folder_without_what_is_generated_or_hidden(image: Image) -> None:
    assert set(image.files()) == {"Containerfile", "entrypoint"}
    assert image.bases == {"BASE": "debian"}


def test_an_image_of_ours_can_be_a_base_like_one_of_a_registry(image: Image) -> None:
    text = "ARG A=iotistic/customer-instance-operator:0.1.0\nARG B=python:3.13-slim\nARG VERSION=0.1.0\nFROM ${A}\n"
    image.containerfile.write_text(text)
    assert image.bases == {"A": "customer-instance-operator", "B": "python"}


def test_a_context_of_the_project_has_only_what_is_listed(image: Image) -> None:
    files = replace(image, context=("LICENSE", "billing_api")).files()
    assert "LICENSE" in files
    assert "billing_api/cli.py" in files
    assert not any(path.endswith(".pyc") or path.startswith("hack") for path in files)


def test_a_given_file_is_part_of_the_image(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = replace(image, given=("go-auth.so",))
    monkeypatch.delenv("BINARIES_DIR", raising=False)
    without = recipe(image, CATALOGUE)
    monkeypatch.setenv("BINARIES_DIR", str(tmp_path))
    assert recipe(image, CATALOGUE) == without
    (tmp_path / "go-auth.so").write_bytes(b"\x7fELF")
    assert image.files()["given/go-auth.so"] == tmp_path / "go-auth.so"
    assert recipe(image, CATALOGUE) != without


def test_staged_files_are_readable_by_everybody(image: Image, tmp_path: Path) -> None:
    (image.folder / "Containerfile").chmod(0o600)
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o700)
    context = tmp_path / "context"
    stage_context(image, context, programs={"program": program})
    modes = {str(path.relative_to(context)): path.stat().st_mode & 0o777 for path in context.rglob("*")}
    assert modes == {"Containerfile": 0o644, "entrypoint": 0o755, "programs": 0o755, "programs/program": 0o755}


CHANGES: dict[str, Callable[[Image], Image]] = {
    "a file's content": lambda image: _write(image, "entrypoint", "#!/bin/bash\n"),
    "a file's mode": lambda image: _chmod(image, 0o644),
    "a new file": lambda image: _write(image, "another", ""),
    "the Containerfile": lambda image: _write(image, "Containerfile", "ARG BASE=debian:bookworm-slim\nFROM ${BASE}\n"),
    "its name": lambda image: replace(image, reference="org/thing:2"),
    "a program": lambda image: replace(image, programs=("promtool",)),
    "another base": lambda image: _write(
        image, "Containerfile", "ARG BASE=python:3.13-slim\nFROM ${BASE}\nCOPY entrypoint /\n"
    ),
}


def _write(image: Image, name: str, text: str) -> Image:
    (image.folder / name).write_text(text)
    return image


def _chmod(image: Image, mode: int) -> Image:
    (image.folder / "entrypoint").chmod(mode)
    return image


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_an_image_is_made_from_decides_its_recipe(image: Image, change: Callable[[Image], Image]) -> None:
    before = recipe(image, CATALOGUE)
    assert recipe(image, CATALOGUE) == before
    assert recipe(change(image), CATALOGUE) != before


def test_another_release_of_the_machine_is_another_base(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = set()
    for release in ("bookworm", "trixie"):
        monkeypatch.setattr("hack.images.catalogue.codename", lambda release=release: release)
        recipes.add(recipe(CATALOGUE["haproxy"], CATALOGUE))
    assert len(recipes) == 2


def test_a_change_of_its_base_changes_an_image(image: Image, tmp_path: Path) -> None:
    base = replace(image, name="debian", folder=tmp_path / "debian")
    base.folder.mkdir()
    base.containerfile.write_text("FROM scratch\n")
    before = recipe(image, {"debian": base})
    base.containerfile.write_text("FROM scratch AS base\n")
    assert recipe(image, {"debian": base}) != before
