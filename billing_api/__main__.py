"""``billing-api`` and ``python -m billing_api``: serves, or does what its command says."""

import argparse
import logging
import sys

from billing_api import cli, logs
from billing_api.errors import BillingError, DatabaseUnavailable, EmbeddedDatabaseError, SchemaError, SettingsError
from billing_api.settings import Settings, from_environment, misspelt

#: sysexits.h: what has to change is the configuration, or only time has to pass.
_EX_CONFIG, _EX_UNAVAILABLE = 78, 69

log = logging.getLogger("billing_api")


def main() -> None:
    """Do what the command line says: by default serve until SIGTERM or SIGINT.

    Exits 78 with the reason when the settings do not allow it, 69 without database, 1 when a command does not work.
    """
    arguments = cli.parse()
    if arguments.command == cli.OPENAPI:
        _print_openapi()
        return
    serving = arguments.command == cli.SERVE
    try:
        if serving:
            _serve()
        else:
            _run(arguments)
    except BillingError as error:
        sys.stderr.write(f"billing_api cannot start:\n{error}\n" if serving else f"{error}\n")
        sys.exit(_status(error))
    except KeyboardInterrupt:
        sys.exit(0)


# Each imports what it needs, and no more: all of it takes seconds.


def _print_openapi() -> None:
    from billing_api import commands

    commands.print_openapi()


def _serve() -> None:
    from billing_api.process import serve

    serve(_settings(serving=True))


def _run(arguments: argparse.Namespace) -> None:
    from billing_api import commands

    commands.run(arguments, _settings(serving=False))


def _settings(*, serving: bool) -> Settings:
    from billing_api.db import urls

    settings = from_environment(serving=serving, check_database_url=urls.require_readable)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    for variable, name in misspelt():
        log.warning("The variable %s is no setting and has no effect; did you mean %s?", variable, name)
    return settings


def _status(error: BillingError) -> int:
    if isinstance(error, DatabaseUnavailable):
        return _EX_UNAVAILABLE
    return _EX_CONFIG if isinstance(error, SettingsError | EmbeddedDatabaseError | SchemaError) else 1


if __name__ == "__main__":
    main()
