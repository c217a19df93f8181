"""The build of the broker's plugin, from sources that a Makefile copies, with a compiler that is a shell script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hack.errors import BinaryError
from hack.images import plugin
from hack.paths import PROJECT_ROOT

# Has all headers but those in FAKE_CC_LACKS.
FAKE_CC = """#!/bin/sh
[ "$1" = --version ] && { echo "${FAKE_CC_VERSION:-fake 1.0}"; exit; }
read -r line
for header in $FAKE_CC_LACKS; do [ "$line" = "#include <$header>" ] && exit 1; done
exit 0
"""
MAKEFILE = """$(OUT)/go-auth.so: plugin.c
\t@echo "sanitize=$(SANITIZE)" >> {traces}/builds
\t@! grep broken plugin.c
\t@cp plugin.c $@
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the compiler first in PATH and take the sources from here."""
    sources, programs = tmp_path / "sources", tmp_path / "programs"
    sources.mkdir()
    programs.mkdir()
    (sources / "Makefile").write_text(MAKEFILE.format(traces=tmp_path), encoding="utf-8")
    (sources / "plugin.c").write_text("first", encoding="utf-8")
    (programs / "cc").write_text(FAKE_CC, encoding="utf-8")
    (programs / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(plugin, "SOURCES", sources)
    return tmp_path


def build(folder: Path, *, sanitized: bool = False) -> Path:
    return plugin.build_plugin(sanitized=sanitized, cache=folder / "cache")


def builds(folder: Path) -> list[str]:
    return (folder / "builds").read_text(encoding="utf-8").splitlines()


def test_it_is_built_once(folder: Path) -> None:
    first, second = build(folder), build(folder)

    assert first == second
    assert first.read_text(encoding="utf-8") == "first"
    assert len(builds(folder)) == 1


def test_other_sources_another_compiler_and_the_sanitizer_each_make_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = [build(folder), build(folder, sanitized=True)]
    monkeypatch.setenv("FAKE_CC_VERSION", "fake 2.0")
    plugins.append(build(folder))
    (folder / "sources" / "plugin.c").write_text("second", encoding="utf-8")
    plugins.append(build(folder))

    assert len(set(plugins)) == 4
    assert builds(folder) == ["sanitize=", "sanitize=1", "sanitize=", "sanitize="]
    assert plugins[-1].read_text(encoding="utf-8") == "second"


def test_a_failed_build_tells_why_and_leaves_nothing_that_looks_built(folder: Path) -> None:
    (folder / "sources" / "plugin.c").write_text("broken", encoding="utf-8")

    for _ in range(2):
        with pytest.raises(BinaryError, match=r"building go-auth.so.*system-packages(.|\n)*Error 1"):
            build(folder)

    assert [file.name for file in (folder / "cache").rglob("*") if file.is_file()] == ["lock"]
    assert len(builds(folder)) == 2


def test_two_processes_build_it_once(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from hack.images import plugin;"
        "plugin.SOURCES = Path(sys.argv[1]) / 'sources';"
        "print(plugin.build_plugin(cache=Path(sys.argv[1]) / 'cache'))"
    )
    command = [sys.executable, "-c", script, str(folder)]
    processes = [subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate(timeout=60)[0] for process in processes}

    assert [process.returncode for process in processes] == [0, 0]
    assert len(paths) == 1
    assert len(builds(folder)) == 1


@pytest.mark.parametrize(
    ("lacking", "packages"),
    [
        ("", []),
        ("crypt.h", ["libcrypt-dev"]),
        ("mosquitto_plugin.h postgresql/libpq-fe.h", ["libpq-dev", "mosquitto-dev"]),
    ],
)
def test_missing_headers_are_told_by_their_packages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, lacking: str, packages: list[str]
) -> None:
    monkeypatch.setenv("FAKE_CC_LACKS", lacking)

    assert plugin.missing_packages() == packages


def test_without_a_compiler_all_packages_are_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))

    assert plugin.missing_packages()[0] == "gcc"
    assert set(plugin.missing_packages()) <= set((PROJECT_ROOT / ".ci" / "system-packages.txt").read_text().split())


def test_a_given_plugin_is_found_in_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BINARIES_DIR", raising=False)
    assert plugin.given_plugin() is None

    monkeypatch.setenv("BINARIES_DIR", str(folder))
    assert plugin.given_plugin() is None

    (folder / plugin.PLUGIN).touch()
    assert plugin.given_plugin() == folder / plugin.PLUGIN
