"""The cache of binaries tells what is missing, outdated or damaged."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hack.binaries.catalogue import Download, Program
from hack.binaries.store import BinaryStore

CONTENT = b"#!/bin/sh\necho tool v1.2.3\n"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    module = tmp_path / "module"
    module.mkdir()
    (module / "go.mod").write_text("module tool\n", encoding="utf-8")
    (module / "go.sum").write_text("", encoding="utf-8")
    return Program(
        name="tool",
        version="v1.2.3",
        module=module,
        package=".",
        linker_flags="-s -w",
        build_seconds=1,
        download=Download(url="https://example.test/tool", checksum_url="https://example.test/tool.sha256"),
    )


@pytest.fixture
def store(tmp_path: Path) -> BinaryStore:
    return BinaryStore(tmp_path / "bin")


def publish(store: BinaryStore, program: Program, *, built: bool = True) -> Path:
    file = store.new_file(program)
    file.write_bytes(CONTENT)
    return store.publish(program, file, built=built)


def test_what_was_never_stored_is_missing(store: BinaryStore, program: Program) -> None:
    assert store.problem(program) == "missing"


def test_a_published_binary_is_fine_executable_and_alone_with_its_manifest(
    store: BinaryStore, program: Program
) -> None:
    path = publish(store, program)
    assert store.problem(program, thorough=True) is None
    assert os.access(path, os.X_OK)
    assert sorted(file.name for file in path.parent.iterdir()) == ["manifest.json", "tool"]


def truncate(path: Path) -> None:
    os.truncate(path, len(CONTENT) - 5)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"XX")


def overwrite_keeping_times(path: Path) -> None:
    before = path.stat()
    overwrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (truncate, f"damaged: {len(CONTENT) - 5} bytes instead of {len(CONTENT)}"),
        (overwrite, "damaged: its SHA-256 has changed"),
        (overwrite_keeping_times, "damaged: its SHA-256 has changed"),
        (Path.unlink, "missing"),
    ],
)
def test_damage_is_told(store: BinaryStore, program: Program, damage: Callable[[Path], None], problem: str) -> None:
    damage(publish(store, program))
    assert store.problem(program) == problem


def test_a_copy_with_the_same_content_is_accepted_and_remembered(store: BinaryStore, program: Program) -> None:
    path = publish(store, program)
    path.unlink()
    path.write_bytes(CONTENT)
    before = path.with_name("manifest.json").read_bytes()
    assert store.problem(program) is None
    assert path.with_name("manifest.json").read_bytes() != before


def test_a_thorough_look_reads_the_file_even_when_nothing_touched_it(store: BinaryStore, program: Program) -> None:
    manifest = publish(store, program).with_name("manifest.json")
    content = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**content, "sha256": "0" * 64}), encoding="utf-8")
    assert store.problem(program) is None
    assert store.problem(program, thorough=True) == "damaged: its SHA-256 has changed"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sha256": "00"}', '{"sha256": "0", "stamp": {}, "recipe": null}'])
def test_a_damaged_manifest_vouches_for_nothing(store: BinaryStore, program: Program, content: str) -> None:
    publish(store, program).with_name("manifest.json").write_text(content, encoding="utf-8")
    assert store.problem(program) == "not recorded, so its origin is unknown"


def test_an_interruption_before_the_manifest_leaves_nothing_to_trust(store: BinaryStore, program: Program) -> None:
    publish(store, program).with_name("manifest.json").unlink()
    assert store.problem(program) == "not recorded, so its origin is unknown"


def test_what_an_interrupted_build_left_is_removed_before_the_next(store: BinaryStore, program: Program) -> None:
    store.new_file(program).write_bytes(b"half a prog")
    assert store.problem(program) == "missing"
    assert not store.new_file(program).exists()


def test_changed_dependencies_make_a_built_binary_outdated_but_not_a_downloaded_one(
    store: BinaryStore, program: Program
) -> None:
    publish(store, program, built=True)
    (program.module / "go.sum").write_text("changed\n", encoding="utf-8")
    assert store.problem(program) == "built by an outdated recipe"
    publish(store, program, built=False)
    assert store.problem(program) is None


def test_two_versions_live_side_by_side(store: BinaryStore, program: Program) -> None:
    publish(store, program)
    newer = replace(program, version="v1.3.0")
    assert store.problem(newer) == "missing"
    assert store.path(newer) != store.path(program)
