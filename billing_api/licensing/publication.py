"""Publication: every reader has a public key before it signs anything.

A process makes the keys it holds known to all, and publishes the set of all that are not revoked in three places: the
file ``jwks.json``, ``/.well-known/jwks.json``, and where there is a cluster a ConfigMap, through the outbox
(config_map.py).
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from billing_api import files
from billing_api.db import signing_keys
from billing_api.db.pool import Connection, Database
from billing_api.db.signing_keys import Jwk, KeyLife
from billing_api.errors import DatabaseUnavailable, SettingsError
from billing_api.licensing.keys import KeyRing
from billing_api.settings import Settings

#: The outbox's kind of work, and its one subject.
PUBLISH = "jwks.publish"
SUBJECT = "jwks"
#: Data key of the ConfigMap, and so the file's name where it is mounted.
JWKS_KEY = "jwks.json"
#: How soon a change made by another process is seen here: new files, a key revoked.
_LONGEST_PAUSE_SECONDS = 10.0
#: How long a cache may keep the set; five minutes are usual.
_LONGEST_CACHE_SECONDS = 300.0
#: Less than a process has for its end, so that it ends in time when it is told to meanwhile.
_START_SECONDS, _START_PAUSE_SECONDS = 10.0, 0.2

log = logging.getLogger(__name__)


class AddJob(Protocol):
    """Writes an outbox row in the caller's transaction."""

    async def __call__(
        self, connection: Connection, /, *, kind: str, subject: str, payload: Mapping[str, Any]
    ) -> object:
        """Have the work done once the transaction commits."""


def document(jwks: Sequence[Jwk]) -> str:
    """Return a JSON Web Key Set (RFC 7517) as text."""
    return json.dumps({"keys": list(jwks)}, indent=2) + "\n"


class Publication:
    """The public keys as this process publishes them."""

    def __init__(self, database: Database, ring: KeyRing, *, settings: Settings, add: AddJob | None) -> None:
        """Prepare; nothing is published before `start`.

        Args:
            database: what all replicas share.
            ring: the keys of this process.
            settings: where the file is, and how long a key is published before it signs.
            add: writes outbox rows; None without a cluster: the file is then all that readers need.
        """
        self._database = database
        self._ring = ring
        self._path = settings.data_dir / JWKS_KEY
        self._overlap = settings.license_key_overlap
        self._add = add
        self._jwks: list[Jwk] | None = None
        self._away = False
        self._writable = True

    @property
    def jwks(self) -> Sequence[Jwk]:
        """The published keys, as last seen; no request waits for the database to get them."""
        return self._jwks or []

    @property
    def cache_seconds(self) -> int:
        """How long others may keep the set: a new key must have reached them before it signs."""
        return int(min(_LONGEST_CACHE_SECONDS, self._overlap / 2))

    async def start(self) -> None:
        """Publish for the first time; a database that is too slow for requests is asked again, for nobody waits yet.

        Raises:
            SettingsError: our keys are revoked, or the one that signs is missing; says what to do.
            DatabaseUnavailable: PostgreSQL has not answered in time, again and again.
        """
        deadline = monotonic() + _START_SECONDS
        while True:
            try:
                await admit(self._database, self._ring)
                await self.refresh()
            except DatabaseUnavailable:
                if monotonic() > deadline:
                    raise
                await asyncio.sleep(_START_PAUSE_SECONDS)
            else:
                return

    async def run(self) -> None:
        """Keep publishing until cancelled. While the database is away, what was published stays.

        What others have changed is seen within ten seconds, sooner where the overlap is short.
        """
        while True:
            await asyncio.sleep(min(_LONGEST_PAUSE_SECONDS, self._overlap / 4))
            try:
                await self.refresh()
                self._away = False
            except DatabaseUnavailable as error:
                if not self._away:
                    log.warning("The published license keys are not looked at: %s", error)
                self._away = True

    async def refresh(self) -> None:
        """Make our keys known, say that we hold them, and publish the set if it is not what we published last."""
        await asyncio.to_thread(self._ring.refresh)
        async with self._database.transaction() as connection:
            await _register(connection, self._ring)
            self._ring.let_go([life.kid for life in await signing_keys.lives(connection) if life.signing])
            await signing_keys.hold(connection, [key.kid for key in self._ring.keys])
            jwks = await signing_keys.trusted(connection)
            if self._add is not None and jwks != self._jwks:
                await self._add(connection, kind=PUBLISH, subject=SUBJECT, payload={})
        self._jwks = jwks
        if await self._write(document(jwks)) and self._add is None:
            await mark(self._database, jwks, overlap_seconds=self._overlap)

    async def _write(self, text: str) -> bool:
        """Have the file hold this text; return whether it does. Nothing else that is published waits for it."""
        try:
            await asyncio.to_thread(_put, self._path, text.encode())
        except OSError as error:
            if self._writable:
                log.error(
                    "DATA_DIR: %s cannot be written (%s), who reads it has not got the present license keys; it is "
                    "tried again until it works",
                    self._path,
                    error.strerror,
                )
            self._writable = False
            return False
        if not self._writable:
            log.info("%s is written again", self._path)
        self._writable = True
        return True


def _put(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        files.replace(path, content, mode=0o644)


async def mark(database: Database, jwks: Sequence[Jwk], *, overlap_seconds: float) -> None:
    """Record that readers can get these keys: those for which that is news sign once the overlap is over."""
    async with database.transaction() as connection:
        await signing_keys.mark_published(connection, [jwk["kid"] for jwk in jwks], overlap_seconds=overlap_seconds)


async def admit(database: Database, ring: KeyRing) -> None:
    """Make our keys known, and refuse those with which this process must not start.

    Raises:
        SettingsError: they are revoked, or the one that signs is missing; says what to do.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    async with database.transaction() as connection:
        await _register(connection, ring)
        lives = await signing_keys.lives(connection)
    # After the commit: replicas that can sign publish a new key meanwhile.
    require_usable(lives, ours={key.kid for key in ring.keys})


async def _register(connection: Connection, ring: KeyRing) -> None:
    for kid in await signing_keys.register(connection, [key.jwk for key in ring.keys]):
        log.info("License key %s is new", kid)


def require_usable(lives: Sequence[KeyLife], *, ours: set[str]) -> None:
    """Refuse keys with which no license can be signed although others could be.

    A new key alone is enough when nobody holds another that signs: then licenses wait for the end of its overlap.

    Raises:
        SettingsError: all our keys are revoked, or we hold only a new key and not the one that signs until then.
    """
    usable = [life for life in lives if life.kid in ours and life.revoked_at is None]
    signing = [life for life in lives if life.signing and (life.held or life.kid in ours)]
    if not usable:
        raise SettingsError(
            f"LICENSE_PRIVATE_KEY_PATH: every key there is revoked ({', '.join(sorted(ours))}); "
            "add a new one with: billing-api keys rotate"
        )
    if any(life in usable for life in signing):
        return
    newest = usable[-1]
    if signing:
        raise SettingsError(
            f"LICENSE_PRIVATE_KEY_PATH: the key that signs now, {signing[-1].kid}, is missing, and the new one, "
            f"{newest.kid}, signs only {_when(newest)}. Put its file back beside the new one, in a folder that holds "
            f"both, until then; if it is lost: billing-api keys revoke {signing[-1].kid} --anyway"
        )
    log.warning("No license can be signed, and no signup taken, until key %s signs: %s", newest.kid, _when(newest))


def _when(life: KeyLife) -> str:
    if life.signs_from is None:
        return "LICENSE_KEY_OVERLAP seconds after it has been published"
    return f"from {life.signs_from.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} on"
