"""``billing-api`` and ``python -m billing_api``: the billing API as a process, settings from the environment."""

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from billing_api import cli, logs
from billing_api.app import create_app
from billing_api.db import embedded
from billing_api.db.migrate import migrate
from billing_api.errors import BillingError, DatabaseUnavailable, EmbeddedDatabaseError, SettingsError
from billing_api.kube import client as cluster
from billing_api.licensing import keys
from billing_api.settings import Settings, from_environment

log = logging.getLogger("billing_api")

#: sysexits.h: what has to change is the configuration, or only time has to pass.
_EX_CONFIG, _EX_UNAVAILABLE = 78, 69


def main() -> None:
    """Do what the command line says: by default serve until SIGTERM or SIGINT.

    Exits 78 with the reason when the settings do not allow it, 69 without database, 1 when a command does not work.
    """
    arguments = cli.parse()
    # uvicorn raises the signal again when it has shut down; this way it unwinds the stack, which stops the database.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = from_environment()
        logs.configure(level=settings.log_level, log_format=settings.log_format)
        if arguments.command is not None:
            cli.run(arguments, settings)
        else:
            _serve(settings)
    except BillingError as error:
        sys.stderr.write(f"{error}\n" if arguments.command else f"billing_api cannot start:\n{error}\n")
        sys.exit(_status(error))
    except KeyboardInterrupt:
        sys.exit(0)


def _status(error: BillingError) -> int:
    if isinstance(error, DatabaseUnavailable):
        return _EX_UNAVAILABLE
    return _EX_CONFIG if isinstance(error, SettingsError | EmbeddedDatabaseError) else 1


def _serve(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kubernetes = asyncio.run(cluster.configuration(settings))
    signing_key = keys.load_or_generate(configured=settings.license_private_key_path, data_dir=settings.data_dir)
    with _database(settings) as dsn:
        migrate(dsn)
        config = uvicorn.Config(
            create_app(settings, dsn=dsn, signing_key=signing_key, kubernetes=kubernetes),
            host=settings.host,
            port=settings.port,
            forwarded_allow_ips=list(settings.trusted_proxies),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=10,
        )
        server = uvicorn.Server(config)
        server.run()
        if not server.started:
            sys.exit(1)


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    if settings.database_url:
        yield settings.database_url
        return
    log.info("DATABASE_URL is empty: starting the built-in PostgreSQL in %s", settings.data_dir)
    with embedded.running(settings.data_dir) as dsn:
        yield dsn


if __name__ == "__main__":
    main()
