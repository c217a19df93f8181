"""The command line of ``billing-api``. It loads nothing that a command needs, so that help is there at once."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from billing_api.settings import describe

SERVE, OPENAPI = "serve", "openapi"

_STATES = ("pending", "refused", "done")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of two words, such as ``outbox list``.

    Attributes:
        arguments: adds its arguments to a parser.
    """

    group: str
    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", choices=_STATES, action="append", help="by default all that are not done")
    parser.add_argument("--kind", help="only rows of a kind, such as instance.apply")
    parser.add_argument("--subject", help="only rows of a subject, such as a customer's identifier")
    parser.add_argument("--limit", type=_count, default=100, help="how many at most (default: %(default)s)")


def _retry_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="*", type=_count, default=[], help="rows, as outbox list shows them")
    which.add_argument("--refused", action="store_true", help="all that are refused")
    parser.add_argument("--kind", help="with --refused: only those of a kind")


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", help="its identifier, or a beginning that no other key has")
    parser.add_argument("--anyway", action="store_true", help="also when no other key may sign yet")


def _email_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("email", help="the address of an account")


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    pass


COMMANDS: tuple[Command, ...] = (
    Command(
        group="outbox",
        name="list",
        help="show what waits for Kubernetes and others, and what they have refused",
        arguments=_list_arguments,
    ),
    Command(
        group="outbox",
        name="retry",
        help="try rows again now, refused ones as if they were new",
        arguments=_retry_arguments,
    ),
    Command(group="keys", name="list", help="show the license keys", arguments=_no_arguments),
    Command(group="keys", name="rotate", help="make a new license key", arguments=_no_arguments),
    Command(
        group="keys",
        name="revoke",
        help="take a license key that leaked from use, and renew what it has signed",
        arguments=_revoke_arguments,
    ),
    Command(
        group="admin",
        name="grant",
        help="make an administrator of a customer",
        arguments=_email_argument,
    ),
    Command(
        group="admin",
        name="revoke",
        help="make an administrator a customer again",
        arguments=_email_argument,
    ),
    Command(
        group="customer",
        name="verify",
        help="take the e-mail address of a customer for verified",
        arguments=_email_argument,
    ),
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line (this process's by default); exits with status 2 and the cure when it is wrong.

    Returns:
        A namespace with the words of the command: `SERVE`, `OPENAPI`, or those of one of `COMMANDS`.
    """
    parser = argparse.ArgumentParser(
        prog="billing-api",
        description="Serve the billing API, or look after it. Everything is set by environment variables:",
        epilog="\n".join(f"{name}={default}\n    {text}" for name, default, text in describe()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=SERVE)
    words = parser.add_subparsers(metavar="COMMAND", title="commands")
    words.add_parser(SERVE, help="serve HTTP until SIGTERM; the default")
    words.add_parser(OPENAPI, help="print the OpenAPI document of the API").set_defaults(command=OPENAPI)
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for command in COMMANDS:
        if command.group not in groups:
            names = ", ".join(other.name for other in COMMANDS if other.group == command.group)
            group = words.add_parser(command.group, help=names)
            groups[command.group] = group.add_subparsers(metavar="COMMAND", title="commands", required=True)
        own = groups[command.group].add_parser(command.name, help=command.help, description=command.help)
        command.arguments(own)
        own.set_defaults(command=f"{command.group} {command.name}")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return int(text)
