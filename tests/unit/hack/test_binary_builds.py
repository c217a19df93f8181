"""Builds from source, with a go command that is a shell script: what it is told, and what happens when it fails."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from hack.binaries.catalogue import Download, Program
from hack.binaries.ensure import ensure_binaries
from hack.binaries.store import BinaryStore
from hack.binaries.toolchain import find_toolchain
from hack.errors import BinaryError
from hack.paths import PROJECT_ROOT
from hack.processes import identify

# Says it is very new; "builds" a script, and counts how often. FAKE_GO=fail and FAKE_GO=hang do what they say;
# FAKE_GO=wait goes on when somebody writes to the pipe go-on.
FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo "${FAKE_GO_VERSION:-go1.99.0}"; exit; fi
echo "$@" >> "$FAKE_GO_FOLDER/calls"
env > "$FAKE_GO_FOLDER/environment"
echo stand.in/package >&2
case "$FAKE_GO" in
    fail) echo "main.go:3:1: syntax error" >&2; exit 1 ;;
    hang) echo $$ > "$FAKE_GO_FOLDER/pid"; exec sleep 60 ;;
    wait) echo $$ > "$FAKE_GO_FOLDER/pid"; read -r _ < "$FAKE_GO_FOLDER/go-on" ;;
esac
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho stand-in v1.2.3\\n' > "$2"
"""
TIMEOUT = 10.0


@pytest.fixture(autouse=True)
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the script first in PATH; return the folder where it leaves its traces."""
    folder = tmp_path / "go"
    folder.mkdir()
    (folder / "go").write_text(FAKE_GO, encoding="utf-8")
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_GO_FOLDER", str(folder))
    monkeypatch.setenv("BINARIES_SOURCE", "build")
    monkeypatch.delenv("BINARIES_DIR", raising=False)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> BinaryStore:
    return BinaryStore(tmp_path / "bin")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return make_program(tmp_path)


def make_program(folder: Path) -> Program:
    module = folder / "module"
    module.mkdir(exist_ok=True)
    (module / "go.mod").write_text("module stand.in\n", encoding="utf-8")
    (module / "go.sum").touch()
    return Program(
        name="stand-in",
        version="v1.2.3",
        module=module,
        package="./cmd/stand-in",
        linker_flags="-s -w",
        build_seconds=1,
        download=Download(url="https://example.test/none", checksum_url="https://example.test/none"),
    )


def ensure(program: Program, store: BinaryStore) -> Path:
    return ensure_binaries([program.name], catalogue={program.name: program}, store=store)[program.name]


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process do what `ensure` does (see the end of this file); it ends with the block at the latest."""
    with subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stderr=subprocess.PIPE,
        cwd=PROJECT_ROOT,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_build_is_reproducible_and_free_of_the_users_go_settings(
    program: Program, store: BinaryStore, fake_go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"GOFLAGS": "-mod=vendor", "CGO_ENABLED": "1", "GOTOOLCHAIN": "auto", "GOWORK": "/x"}.items():
        monkeypatch.setenv(name, value)
    ensure(program, store)
    environment = (fake_go / "environment").read_text(encoding="utf-8").splitlines()
    assert {"CGO_ENABLED=0", "GOFLAGS=", "GOTOOLCHAIN=local", "GOWORK=off"} <= set(environment)
    call = (fake_go / "calls").read_text(encoding="utf-8")
    assert call.startswith("build -v -trimpath -mod=readonly -buildvcs=false -ldflags -s -w -o ")
    assert call.endswith(" ./cmd/stand-in\n")


def test_build_tags_are_handed_over_and_are_part_of_the_recipe(
    program: Program, store: BinaryStore, fake_go: Path
) -> None:
    tagged = replace(program, tags=("one", "two"))
    ensure(tagged, store)
    assert " -tags one,two -ldflags " in (fake_go / "calls").read_text(encoding="utf-8")
    assert tagged.recipe != program.recipe


def test_what_was_built_is_not_built_again(program: Program, store: BinaryStore, fake_go: Path) -> None:
    assert ensure(program, store) == ensure(program, store)
    assert len((fake_go / "calls").read_text(encoding="utf-8").splitlines()) == 1


def test_a_build_that_fails_says_why_and_leaves_nothing(
    program: Program, store: BinaryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GO", "fail")
    with pytest.raises(BinaryError, match=r"building stand-in v1\.2\.3 failed:\n(.*\n)*main\.go:3:1: syntax error"):
        ensure(program, store)
    assert store.problem(program) == "missing"


def test_killing_a_build_ends_the_compiler_and_the_next_run_starts_over(
    program: Program, store: BinaryStore, tmp_path: Path, fake_go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(fake_go / "pid")  # reading from it waits until the compiler runs
    monkeypatch.setenv("FAKE_GO", "hang")
    with another_process(tmp_path) as builder:
        compiler = identify(int((fake_go / "pid").read_text(encoding="utf-8")))
        builder.kill()
    assert compiler is not None
    assert compiler.wait(timeout=TIMEOUT)
    monkeypatch.setenv("FAKE_GO", "")
    assert store.problem(program) == "missing"
    assert ensure(program, store).exists()


def test_of_two_runs_at_once_the_second_waits_for_the_first(
    program: Program, store: BinaryStore, tmp_path: Path, fake_go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pipe in ("pid", "go-on"):
        os.mkfifo(fake_go / pipe)
    monkeypatch.setenv("FAKE_GO", "wait")
    with another_process(tmp_path) as first:
        (fake_go / "pid").read_text(encoding="utf-8")
        with another_process(tmp_path) as second:
            assert second.stderr is not None
            assert b"waiting for another process" in second.stderr.readline()
            (fake_go / "go-on").write_text("\n", encoding="utf-8")
            assert [run.wait(timeout=TIMEOUT) for run in (first, second)] == [0, 0]
    assert store.problem(program) is None
    assert len((fake_go / "calls").read_text(encoding="utf-8").splitlines()) == 1


def test_the_machines_own_go_is_used_when_it_is_new_enough(fake_go: Path) -> None:
    assert find_toolchain(report=print).command == fake_go / "go"


def test_without_a_new_enough_go_or_a_virtual_environment_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setenv("FAKE_GO_VERSION", "go1.19")
    monkeypatch.setattr(metadata, "version", not_installed)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    with pytest.raises(BinaryError, match="run `make setup`"):
        find_toolchain(report=print)


if __name__ == "__main__":
    ensure(make_program(Path(sys.argv[1])), BinaryStore(Path(sys.argv[1]) / "bin"))
