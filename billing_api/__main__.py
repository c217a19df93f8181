"""``python -m billing_api``: the billing API as a process, settings from the environment."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from billing_api import logs
from billing_api.app import create_app
from billing_api.db import embedded
from billing_api.db.migrate import migrate
from billing_api.db.pool import Database
from billing_api.errors import BillingError, DatabaseUnavailable
from billing_api.kube import client as cluster
from billing_api.licensing.keys import KeyRing
from billing_api.licensing.publication import admit
from billing_api.own_secrets import OwnSecrets
from billing_api.settings import Settings, describe, from_environment, require_shared

log = logging.getLogger("billing_api")

#: sysexits.h: what has to change is the configuration, or only time has to pass.
_EX_CONFIG, _EX_UNAVAILABLE = 78, 69


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit 78 with the reason when the settings do not allow it, 69 without database."""
    _parse_arguments()
    # uvicorn raises the signal again when it has shut down; this way it unwinds the stack, which stops the database.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = from_environment()
        logs.configure(level=settings.log_level, log_format=settings.log_format)
        _serve(settings)
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


def _serve(settings: Settings) -> None:
    require_shared(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kubernetes = asyncio.run(cluster.configuration(settings))
    OwnSecrets.load(settings)
    signing_keys = KeyRing.open(settings)
    with _database(settings) as dsn:
        migrate(dsn)
        asyncio.run(_admit(dsn, signing_keys))
        config = uvicorn.Config(
            create_app(settings, dsn=dsn, signing_keys=signing_keys, kubernetes=kubernetes),
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


async def _admit(dsn: str, signing_keys: KeyRing) -> None:
    """Refuse unusable keys before the server starts, where a refusal is told in words."""
    async with Database(dsn, size=1) as database:
        await admit(database, signing_keys)


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
