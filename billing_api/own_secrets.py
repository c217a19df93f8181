"""The secrets that are nobody's but ours: of sessions and of idempotency. None is derived from another."""

import logging
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from billing_api import files
from billing_api.errors import SettingsError
from billing_api.settings import SECRET_LEAST_CHARACTERS, Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OwnSecrets:
    """What sessions are signed with, and what an idempotent request is remembered with."""

    sessions: bytes = field(repr=False)
    idempotency: bytes = field(repr=False)

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Return the secrets of the settings; one that is not set is a file in DATA_DIR, generated once. Blocks.

        Raises:
            SettingsError: a file cannot be read or written, or holds too little.
        """
        sessions, idempotency = paths(settings)
        return cls(
            sessions=_secret(settings.session_secret, name="SESSION_SECRET", path=sessions),
            idempotency=_secret(settings.idempotency_secret, name="IDEMPOTENCY_SECRET", path=idempotency),
        )


def paths(settings: Settings) -> tuple[Path, Path]:
    """Return the files of the secrets of sessions and of idempotency, which are there unless the settings have them."""
    return settings.data_dir / "session-secret", settings.data_dir / "idempotency-secret"


def _secret(configured: str, *, name: str, path: Path) -> bytes:
    return configured.encode() or _from_file(path, name=name)


def _from_file(path: Path, *, name: str) -> bytes:
    try:
        # Always a file first and then what it holds: of two processes that start at once both get the same.
        if not path.exists() and files.create(path, secrets.token_hex(32).encode() + b"\n", mode=0o600):
            log.info("Generated %s for %s", path, name)
        content = path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"{name}: {path} cannot be used ({type(error).__name__}); make it readable, or set {name}"
        ) from error
    if len(content) < SECRET_LEAST_CHARACTERS:
        raise SettingsError(
            f"{name}: {path} holds fewer than {SECRET_LEAST_CHARACTERS} characters; delete it to get a new one"
        )
    return content
