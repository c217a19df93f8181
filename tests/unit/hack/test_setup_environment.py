"""The virtual environment is completed once, and again when what it depends on has changed."""

import sys
from pathlib import Path

import pytest

from hack.errors import HackError
from hack.setup import main, python_version, set_up

# Stands for the interpreter of an environment: tells a version, writes down what pip is asked for, fails on request.
FAKE_PYTHON = """#!/bin/sh
folder=$(dirname "$0")/../..
if [ "$1" = -c ]; then cat "$folder/version"; exit; fi
echo "$@" >> "$folder/calls"
if [ -e "$folder/fail" ]; then echo "no such package"; exit 1; fi
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").write_text(FAKE_PYTHON, encoding="utf-8")
    (binaries / "python").chmod(0o755)
    for name in ("requirements-dev.txt", "pyproject.toml", "version"):
        (tmp_path / name).write_text("1\n", encoding="utf-8")
    return tmp_path


def calls(root: Path) -> list[str]:
    """Return what pip was asked for since the last look."""
    file = root / "calls"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_requirements_are_installed_by_hash_and_the_project_without_its_dependencies(root: Path) -> None:
    set_up(root)
    requirements, project = calls(root)
    assert requirements.endswith(f"--require-hashes --requirement {root}/requirements-dev.txt")
    assert project.endswith(f"--no-deps --no-build-isolation --editable {root}")


def test_a_second_run_does_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(root)
    calls(root)
    capsys.readouterr()
    set_up(root)
    assert calls(root) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["requirements-dev.txt", "pyproject.toml", "version"])
def test_a_change_of_what_it_depends_on_completes_it_again(root: Path, name: str) -> None:
    set_up(root)
    calls(root)
    (root / name).write_text("2\n", encoding="utf-8")
    set_up(root)
    assert len(calls(root)) == 2


def test_a_failure_is_told_and_not_taken_for_complete(root: Path) -> None:
    set_up(root)
    (root / "requirements-dev.txt").write_text("2\n", encoding="utf-8")
    (root / "fail").touch()
    with pytest.raises(HackError, match=r"failed \(check the package index\):\nno such package"):
        set_up(root)
    (root / "fail").unlink()
    (root / "requirements-dev.txt").write_text("1\n", encoding="utf-8")
    calls(root)
    set_up(root)
    assert len(calls(root)) == 2


def test_an_interpreter_that_is_gone_counts_as_none(root: Path) -> None:
    assert python_version(root / "absent") == ""
    (root / ".venv" / "bin" / "python").write_text("#!/nonexistent/python\n", encoding="utf-8")
    assert python_version(root / ".venv" / "bin" / "python") == ""


def test_the_interpreter_of_this_environment_tells_its_version() -> None:
    assert python_version(Path(sys.executable)) == sys.version


def test_an_old_python_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert main() == 1
    assert "3.11 or newer is needed: set PYTHON3" in capsys.readouterr().err
