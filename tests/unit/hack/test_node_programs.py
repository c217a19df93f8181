"""The programs of a node: a catalogue of their own, and a recipe that notices every change."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hack.binaries.catalogue import Program, read_catalogue
from hack.binaries.node import read_node_catalogue
from hack.node.images import ADDON_PROGRAMS
from hack.node.programs import PROGRAMS
from hack.versions import read_versions


def make_program(module: Path, **values: Any) -> Program:
    folder = module / "tool"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("go.mod", "go.sum", "tool/main.go"):
        (module / file).touch()
    given: dict[str, Any] = {
        "name": "tool",
        "version": "v1.2.3",
        "module": module,
        "package": "./tool",
        "linker_flags": "",
        "build_seconds": 1,
        "download": None,
    }
    return Program(**given | values)


def test_nobody_without_a_node_has_to_build_its_programs() -> None:
    assert not set(read_catalogue()) & set(read_node_catalogue())


def test_the_catalogue_holds_what_runs_on_a_node_and_in_its_own_pods() -> None:
    assert set(read_node_catalogue()) == {*PROGRAMS, *ADDON_PROGRAMS}


def test_every_release_is_that_of_the_pinned_version() -> None:
    versions = {name: f"v9.8.{number}" for number, name in enumerate(read_versions())}
    for program in read_node_catalogue(versions).values():
        number = program.version.removeprefix("v")
        if program.download:
            assert number in program.download.url
            assert number in program.download.checksum_url or program.name.startswith("kube")


@pytest.mark.parametrize("change", [{"tags": ("seccomp",)}, {"cgo": True}, {"linker_flags": "-s"}])
def test_what_a_build_is_told_is_part_of_its_recipe(change: dict[str, Any], tmp_path: Path) -> None:
    program = make_program(tmp_path)
    assert dataclasses.replace(program, **change).recipe != program.recipe


def test_a_program_of_our_own_is_built_again_when_its_source_has_changed(tmp_path: Path) -> None:
    program = make_program(tmp_path)
    before = program.recipe
    (tmp_path / "tool" / "main.go").write_text("package main\n", encoding="ascii")
    assert program.recipe != before
