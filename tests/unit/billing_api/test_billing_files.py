"""Who may write the files that secrets are in, and the folder they are in."""

import os
from pathlib import Path

import pytest

from billing_api import files
from billing_api.errors import SettingsError

_NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "session-secret"
    path.write_text("x" * 64)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o644])
def test_a_file_that_only_we_may_write_is_taken(secret: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    secret.chmod(mode)
    files.require_own(secret, name="SESSION_SECRET")
    assert not caplog.text


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o646])
def test_a_file_that_everybody_may_write_is_refused_with_the_cure(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(SettingsError) as refused:
        files.require_own(secret, name="SESSION_SECRET")
    assert str(refused.value).startswith(f"SESSION_SECRET: {secret} may be written by everybody")
    assert f"chmod go-w {secret}" in str(refused.value)


def test_a_file_that_a_group_may_write_is_told(secret: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret.chmod(0o660)
    files.require_own(secret, name="SESSION_SECRET")
    assert f"{secret} may be written by its group: chown {os.geteuid()} {secret}" in caplog.text


@as_root
def test_a_file_of_another_user_is_refused(secret: Path, tmp_path: Path) -> None:
    os.chown(secret, _NOBODY, 0)
    link = tmp_path / "link"
    link.symlink_to(secret)
    for path in (secret, link):
        with pytest.raises(SettingsError, match=f"may be written by the user with id {_NOBODY}"):
            files.require_own(path, name="SESSION_SECRET")


@pytest.mark.parametrize(("mode", "who"), [(0o700, ""), (0o755, ""), (0o775, "its group"), (0o777, "everybody")])
def test_a_folder_that_others_may_write_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, who: str
) -> None:
    tmp_path.chmod(mode)
    files.warn_of_others(tmp_path)
    assert (f"{tmp_path} may be written by {who}" in caplog.text) == bool(who)
    assert bool(caplog.text) == bool(who)


def test_in_a_folder_like_tmp_nobody_can_replace_what_is_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o1777)
    files.warn_of_others(tmp_path)
    assert not caplog.text
