"""``billing-api keys list|rotate|revoke``: each returns the text to print."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from billing_api.db import licenses, signing_keys
from billing_api.db.pool import Connection, Database
from billing_api.db.signing_keys import KeyLife
from billing_api.errors import CommandRefused
from billing_api.licensing.keys import KeyFiles, SigningKey
from billing_api.licensing.publication import AddJob
from billing_api.settings import Settings

#: The outbox's kind of work that renews what a revoked key has signed; its handler is accounts.renewal.
RENEW = "license.renew"


async def list_keys(database: Database) -> str:
    """Return a table of all keys there ever were: identifier, what it does, and for how many customers.

    Raises:
        DatabaseUnavailable
    """
    async with database.transaction() as connection:
        lives = await signing_keys.lives(connection)
        holders = await licenses.count_holders(connection)
    rows = [(life.kid, _state(life), str(holders.get(life.kid, 0))) for life in lives]
    return _table([("KEY", "STATE", "CUSTOMERS"), *rows])


async def rotate(database: Database, settings: Settings) -> str:
    """Make a new signing key beside the others and make it known; running processes find and publish it.

    Raises:
        CommandRefused: the keys are not in a folder that can be written to.
        DatabaseUnavailable: the key is there, and made known by the next process that finds it.
    """
    files = KeyFiles.of(settings)
    if not files.place.is_dir():
        raise CommandRefused(
            f"LICENSE_PRIVATE_KEY_PATH: {files.place} is one file; make it a folder that holds this file, named "
            "*.pem, and the new key is put beside it"
        )
    key = await asyncio.to_thread(SigningKey.generate)
    try:
        path = await asyncio.to_thread(files.add, key)
    except OSError as error:
        raise CommandRefused(
            f"LICENSE_PRIVATE_KEY_PATH: cannot write into {files.place} ({error.strerror}); where it is a mounted "
            "Secret, add the key there: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out <file>.pem"
        ) from error
    async with database.transaction() as connection:
        await signing_keys.register(connection, [key.jwk])
    return (
        f"New key {key.kid} in {path}.\n"
        f"It is published by the running billing API, and signs {settings.license_key_overlap:g} s later; keep the "
        "earlier key's file until then. Back the new one up.\n"
    )


async def revoke(database: Database, kid: str, *, add: AddJob, anyway: bool) -> str:
    """Take a key that leaked from use: it signs nothing more, is not published, and its licenses are renewed.

    Args:
        database: what all replicas share.
        kid: its identifier, or a beginning that no other key has.
        add: writes outbox rows.
        anyway: also when nobody holds another key that may sign, and so neither signups nor renewals are possible for a
            time.

    Raises:
        CommandRefused: there is no such key, several, it is revoked, or nobody holds another that may sign.
        DatabaseUnavailable
    """
    async with database.transaction() as connection:
        lives = await signing_keys.lives(connection)
        key = _chosen(lives, kid)
        others = [life for life in lives if life.signing and life.held and life.kid != key.kid]
        if not others and not anyway:
            raise CommandRefused(
                f"{key.kid} is the only key that may sign and that a process holds. Make another with: billing-api "
                "keys rotate, and come back when it signs; or give --anyway: then nobody can sign up, and no license "
                "is renewed, until it does"
            )
        await _revoke(connection, key.kid, add=add)
    return f"Key {key.kid} is revoked. Licenses it has signed are renewed{'' if others else ' once a key signs'}.\n"


async def _revoke(connection: Connection, kid: str, *, add: AddJob) -> None:
    if not await signing_keys.revoke(connection, kid):
        raise CommandRefused(f"{kid} has just been revoked by somebody else")
    await add(connection, kind=RENEW, subject=kid, payload={"kid": kid, "after": ""})


def _chosen(lives: Sequence[KeyLife], kid: str) -> KeyLife:
    found = [life for life in lives if life.kid == kid] or [life for life in lives if kid and life.kid.startswith(kid)]
    if len(found) != 1:
        how_many = "several keys begin" if found else "no key begins"
        raise CommandRefused(f"{how_many} with {kid!r}; see: billing-api keys list")
    [life] = found
    if life.revoked_at is not None:
        raise CommandRefused(f"{life.kid} was revoked at {_time(life.revoked_at)}")
    return life


def _state(life: KeyLife) -> str:
    if life.revoked_at is not None:
        return f"revoked at {_time(life.revoked_at)}"
    if life.signs_from is None:
        return "not published yet"
    if not life.signing:
        return f"published, signs from {_time(life.signs_from)}"
    return f"signs since {_time(life.signs_from)}" if life.held else "could sign, but no process holds it"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(line.rstrip() + "\n" for line in lines)
