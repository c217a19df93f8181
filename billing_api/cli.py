"""``billing-api``: what can be done from a shell. Without a command it serves."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from billing_api.accounts import commands as admin
from billing_api.db import embedded, urls
from billing_api.db import outbox as outbox_rows
from billing_api.db.migrate import migrate
from billing_api.db.pool import Database
from billing_api.errors import SettingsError
from billing_api.http import openapi
from billing_api.http.cookies import Cookies
from billing_api.licensing import commands as keys
from billing_api.outbox import commands as outbox
from billing_api.routes import ROUTES
from billing_api.settings import Settings, describe

SERVE = "serve"

_STATES = ("pending", "refused", "done")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of two words, such as ``outbox list``.

    Attributes:
        arguments: adds its arguments to a parser.
        run: does the work and returns what is printed.
    """

    group: str
    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Database, Settings, argparse.Namespace], Awaitable[str]]


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", choices=_STATES, action="append", help="by default all that are not done")
    parser.add_argument("--kind", help="only rows of a kind, such as instance.apply")
    parser.add_argument("--subject", help="only rows of a subject, such as a customer's identifier")
    parser.add_argument("--limit", type=_count, default=100, help="how many at most (default: %(default)s)")


async def _list(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    states = arguments.state or ["refused", "pending"]
    return await outbox.show(
        database, states=states, kind=arguments.kind, subject=arguments.subject, limit=arguments.limit
    )


def _retry_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="*", type=_count, default=[], help="rows, as outbox list shows them")
    which.add_argument("--refused", action="store_true", help="all that are refused")
    parser.add_argument("--kind", help="with --refused: only those of a kind")


async def _retry(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    if arguments.refused:
        return await outbox.retry_refused(database, kind=arguments.kind)
    return await outbox.retry(database, ids=arguments.id)


async def _list_keys(database: Database, _settings: Settings, _arguments: argparse.Namespace) -> str:
    return await keys.list_keys(database)


async def _rotate(database: Database, settings: Settings, _arguments: argparse.Namespace) -> str:
    return await keys.rotate(database, settings)


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", help="its identifier, or a beginning that no other key has")
    parser.add_argument("--anyway", action="store_true", help="also when no other key may sign yet")


async def _revoke(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    return await keys.revoke(database, arguments.key, add=outbox_rows.add, anyway=arguments.anyway)


def _email_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("email", help="the address of an account")


async def _grant_admin(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    return f"{await admin.grant_admin(database, arguments.email)}\n"


async def _revoke_admin(database: Database, _settings: Settings, arguments: argparse.Namespace) -> str:
    return f"{await admin.revoke_admin(database, arguments.email)}\n"


def _openapi() -> str:
    """Return the document as it is where browsers reach the API by TLS."""
    return json.dumps(openapi.build(ROUTES, cookies=Cookies(secure=True)), indent=2) + "\n"


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    pass


COMMANDS: tuple[Command, ...] = (
    Command(
        group="outbox",
        name="list",
        help="show what waits for Kubernetes and others, and what they have refused",
        arguments=_list_arguments,
        run=_list,
    ),
    Command(
        group="outbox",
        name="retry",
        help="try rows again now, refused ones as if they were new",
        arguments=_retry_arguments,
        run=_retry,
    ),
    Command(group="keys", name="list", help="show the license keys", arguments=_no_arguments, run=_list_keys),
    Command(group="keys", name="rotate", help="make a new license key", arguments=_no_arguments, run=_rotate),
    Command(
        group="keys",
        name="revoke",
        help="take a license key that leaked from use, and renew what it has signed",
        arguments=_revoke_arguments,
        run=_revoke,
    ),
    Command(
        group="admin",
        name="grant",
        help="make an administrator of a customer",
        arguments=_email_argument,
        run=_grant_admin,
    ),
    Command(
        group="admin",
        name="revoke",
        help="make an administrator a customer again",
        arguments=_email_argument,
        run=_revoke_admin,
    ),
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line (this process's by default); exits with status 2 and the cure when it is wrong.

    Returns:
        A namespace whose ``print`` makes a text that needs neither settings nor database, or is None; otherwise
        ``command`` is one of `COMMANDS`, or None to serve.
    """
    parser = argparse.ArgumentParser(
        prog="billing-api",
        description="Serve the billing API, or look after it. Everything is set by environment variables:",
        epilog="\n".join(f"{name}={default}\n    {text}" for name, default, text in describe()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=None, print=None)
    words = parser.add_subparsers(metavar="COMMAND", title="commands")
    words.add_parser(SERVE, help="serve HTTP until SIGTERM; the default")
    words.add_parser("openapi", help="print the OpenAPI document of the API").set_defaults(print=_openapi)
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for command in COMMANDS:
        if command.group not in groups:
            names = ", ".join(other.name for other in COMMANDS if other.group == command.group)
            group = words.add_parser(command.group, help=names)
            groups[command.group] = group.add_subparsers(metavar="COMMAND", title="commands", required=True)
        own = groups[command.group].add_parser(command.name, help=command.help, description=command.help)
        command.arguments(own)
        own.set_defaults(command=command)
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Run the command that `parse` has found, and print what it returns.

    Raises:
        BillingError: it did not work; the text says why.
    """
    command: Command = arguments.command
    with _database(settings) as dsn:
        sys.stdout.write(asyncio.run(_run(command, arguments, settings, dsn)))


async def _run(command: Command, arguments: argparse.Namespace, settings: Settings, dsn: str) -> str:
    async with Database(dsn, size=1) as database:
        return await command.run(database, settings, arguments)


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """Give the database's URL: the built-in one is used where it runs, and started for a moment where it does not."""
    if settings.database_url:
        urls.require_readable(settings.database_url)
        yield settings.database_url
    elif not embedded.exists(settings.data_dir):
        raise SettingsError(
            f"DATA_DIR: no database in {settings.data_dir}; set DATA_DIR or DATABASE_URL as for the billing API"
        )
    elif embedded.answers(settings.data_dir):
        yield embedded.url(settings.data_dir)
    else:
        with embedded.running(settings.data_dir) as dsn:
            migrate(dsn)
            yield dsn


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return int(text)
