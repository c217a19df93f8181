"""What the commands of ``billing-api`` do, each on the database that the settings name."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from billing_api import files
from billing_api.accounts import commands as admin
from billing_api.db import embedded
from billing_api.db import outbox as outbox_rows
from billing_api.db.migrate import migrate, require_current
from billing_api.db.pool import Database
from billing_api.errors import SettingsError
from billing_api.http import openapi
from billing_api.http.cookies import Cookies
from billing_api.licensing import commands as keys
from billing_api.outbox import commands as outbox
from billing_api.routes import ROUTES
from billing_api.settings import Settings

#: Somebody waits, but with more patience than a client of the API.
_SECONDS = 10.0

Run = Callable[[Database, Settings, argparse.Namespace], Awaitable[str]]


async def _list(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    states = arguments.state or ["refused", "pending"]
    return await outbox.show(
        database, states=states, kind=arguments.kind, subject=arguments.subject, limit=arguments.limit
    )


async def _retry(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    if arguments.refused:
        return await outbox.retry_refused(database, kind=arguments.kind)
    return await outbox.retry(database, ids=arguments.id)


async def _list_keys(database: Database, _settings: Settings, _arguments: argparse.Namespace) -> str:
    return await keys.list_keys(database)


async def _rotate(database: Database, settings: Settings, _arguments: argparse.Namespace) -> str:
    return await keys.rotate(database, settings)


async def _revoke(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    return await keys.revoke(database, arguments.key, add=outbox_rows.add, anyway=arguments.anyway)


async def _grant_admin(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    return f"{await admin.grant_admin(database, arguments.email)}\n"


async def _revoke_admin(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    return f"{await admin.revoke_admin(database, arguments.email)}\n"


async def _verify(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    return f"{await admin.verify(database, arguments.email)}\n"


RUN: Final[Mapping[str, Run]] = {
    "outbox list": _list,
    "outbox retry": _retry,
    "keys list": _list_keys,
    "keys rotate": _rotate,
    "keys revoke": _revoke,
    "admin grant": _grant_admin,
    "admin revoke": _revoke_admin,
    "customer verify": _verify,
}


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Run the command that `cli.parse` has found, and print what it returns.

    Raises:
        BillingError: it did not work; the text says why.
    """
    with _database(settings) as dsn:
        require_current(dsn)
        sys.stdout.write(asyncio.run(_run(RUN[arguments.command], arguments, settings, dsn)))


def print_openapi() -> None:
    """Print the document as it is where browsers reach the API by TLS."""
    document = openapi.build(ROUTES, cookies=Cookies(secure=True))
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


async def _run(command: Run, arguments: argparse.Namespace, settings: Settings, dsn: str) -> str:
    async with Database(dsn, size=1, answer_seconds=_SECONDS) as database:
        return await command(database, settings, arguments)


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """Give the database's URL: the built-in one is used where it runs, and started for a moment where it does not."""
    if settings.database_url:
        yield settings.database_url
        return
    files.require_usable(settings.data_dir)
    if not embedded.exists(settings.data_dir):
        raise SettingsError(
            f"DATA_DIR: no database in {settings.data_dir}; set DATA_DIR or DATABASE_URL as for the billing API"
        )
    if embedded.answers(settings.data_dir):
        yield embedded.url(settings.data_dir)
    else:
        with embedded.running(settings.data_dir) as dsn:
            migrate(dsn)
            yield dsn
