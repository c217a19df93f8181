"""``python -m billing_api``: the billing API as a process, settings from the environment."""

import argparse
import sys

from billing_api import logs
from billing_api.errors import BillingError, DatabaseUnavailable
from billing_api.process import serve
from billing_api.settings import describe, from_environment

#: sysexits.h: what has to change is the configuration, or only time has to pass.
_EX_CONFIG, _EX_UNAVAILABLE = 78, 69


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit 78 with the reason when the settings do not allow it, 69 without database."""
    _parse_arguments()
    try:
        settings = from_environment()
        logs.configure(level=settings.log_level, log_format=settings.log_format)
        serve(settings)
    except BillingError as error:
        sys.stderr.write(f"billing_api cannot start:\n{error}\n")
        sys.exit(_EX_UNAVAILABLE if isinstance(error, DatabaseUnavailable) else _EX_CONFIG)
    except KeyboardInterrupt:
        sys.exit(0)


def _parse_arguments() -> None:
    argparse.ArgumentParser(
        prog="python -m billing_api",
        description="Serve the billing API. Everything is set by environment variables:",
        epilog="\n".join(f"{name}={default}\n    {text}" for name, default, text in describe()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


if __name__ == "__main__":
    main()
