"""``billing-api`` and ``python -m billing_api``: serves, or does what its command says."""

import sys

from billing_api import cli, logs
from billing_api.errors import BillingError, DatabaseUnavailable, EmbeddedDatabaseError, SchemaError, SettingsError
from billing_api.process import serve
from billing_api.settings import from_environment

#: sysexits.h: what has to change is the configuration, or only time has to pass.
_EX_CONFIG, _EX_UNAVAILABLE = 78, 69


def main() -> None:
    """Do what the command line says: by default serve until SIGTERM or SIGINT.

    Exits 78 with the reason when the settings do not allow it, 69 without database, 1 when a command does not work.
    """
    arguments = cli.parse()
    if arguments.print is not None:
        sys.stdout.write(arguments.print())
        return
    try:
        settings = from_environment()
        logs.configure(level=settings.log_level, log_format=settings.log_format)
        if arguments.command is not None:
            cli.run(arguments, settings)
        else:
            serve(settings)
    except BillingError as error:
        sys.stderr.write(f"{error}\n" if arguments.command else f"billing_api cannot start:\n{error}\n")
        sys.exit(_status(error))
    except KeyboardInterrupt:
        sys.exit(0)


def _status(error: BillingError) -> int:
    if isinstance(error, DatabaseUnavailable):
        return _EX_UNAVAILABLE
    return _EX_CONFIG if isinstance(error, SettingsError | EmbeddedDatabaseError | SchemaError) else 1


if __name__ == "__main__":
    main()
