"""DATABASE_URL: what libpq would misread is refused, and nothing of it is shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from billing_api.db import urls
from billing_api.errors import SettingsError

_MISREAD = [
    "postgresql://u:topsec%ret@db/billing",
    "postgresql://u:topsec%@db/billing",
    "postgresql://u:topsec%00ret@db/billing",
    "postgresql://u:p@topsecret@db/billing",
    "postgresql://u:topsecret/more@db/billing",
    "postgresql://u:topsecret@db:topsecret/billing",
    "postgresql://u:topsecret@db/billing?sslmod=require",
    "postgresql://u:topsecret@[::1/billing",
    "postgresql://u:topsecret@db/billing?sslmode",
]


@pytest.mark.parametrize("url", _MISREAD)
def test_a_url_that_libpq_would_misread_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(
        SettingsError, match=r"^DATABASE_URL: must be a URL that libpq can read\. Percent-encode"
    ) as raised:
        urls.require_readable(url)
    assert "topsec" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:top%25sec%40ret%2F%3A@db:5432/billing?sslmode=verify-full&sslrootcert=system",
        "postgres://u@a:5432,b:5433/billing?target_session_attrs=read-write",
        "postgresql://postgres@/billing?host=/run/postgresql&port=5432",
        "postgresql://[2001:db8::1]:5432/billing",
        "postgresql:///",
    ],
)
def test_a_url_that_libpq_understands_is_taken(url: str) -> None:
    urls.require_readable(url)


@pytest.mark.parametrize("command", [[], ["outbox", "list"]])
def test_the_password_is_in_no_traceback(tmp_path: Path, command: list[str]) -> None:
    key = tmp_path / "key.pem"
    key.touch()
    environ = {
        "DATABASE_URL": _MISREAD[0],
        "DATA_DIR": str(tmp_path),
        "LICENSE_PRIVATE_KEY_PATH": str(key),
        "SESSION_SECRET": "s" * 32,
        "IDEMPOTENCY_SECRET": "i" * 32,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "billing_api", *command], env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 78, ended.stderr
    assert "DATABASE_URL: must be a URL that libpq can read" in ended.stderr
    assert "topsec" not in ended.stderr
    assert "Traceback" not in ended.stderr
