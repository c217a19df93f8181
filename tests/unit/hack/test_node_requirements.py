"""A machine that cannot run a node is told why in one line, and nothing is begun."""

import os
from pathlib import Path

import pytest

from hack.node import cgroups, requirements
from hack.node.__main__ import main
from hack.node.requirements import COMMANDS, missing_requirements


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be root, with every command there is to have, in the folder that is returned."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in COMMANDS:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["up"]) == 1
    assert capsys.readouterr().err == "error: a real node needs root: it makes namespaces and control groups\n"


def test_where_no_node_can_run_there_is_nothing_to_set_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["setup"]) == 0
    assert "no real node here" in capsys.readouterr().err


def test_a_missing_command_is_named_by_its_package(root: Path) -> None:
    (root / "iptables").unlink()
    (root / "busybox").unlink()
    assert missing_requirements().endswith("needs the packages busybox-static, iptables: make system-packages")


def test_a_cache_folder_that_the_node_would_hide_from_itself_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "hierarchies", lambda: [root])
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/lib/somewhere")
    assert missing_requirements().endswith("would not find /var/lib/somewhere/customer-instance-operator")


def test_a_machine_that_lets_root_make_no_namespaces_is_told_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "hierarchies", lambda: [root])
    (root / "unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2; exit 1\n")
    assert missing_requirements().endswith("refuses: unshare failed: Operation not permitted")
    (root / "unshare").write_text("#!/bin/sh\nexit 0\n")
    assert missing_requirements() == ""


def test_a_machine_without_control_groups_is_told_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "hierarchies", list)
    assert "needs control groups" in missing_requirements()


def test_the_hierarchies_of_both_versions_of_control_groups_are_found(tmp_path: Path) -> None:
    assert cgroups.hierarchies(tmp_path) == []
    for name in ("memory", "cpu"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    assert [root.name for root in cgroups.hierarchies(tmp_path)] == ["cpu", "memory"]
    (tmp_path / "cgroup.controllers").touch()
    assert cgroups.hierarchies(tmp_path) == [tmp_path]
