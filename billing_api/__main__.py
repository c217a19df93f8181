"""``python -m billing_api``: the billing API as a process, settings from the environment."""

import argparse
import asyncio
import json
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
from billing_api.errors import BillingError, DatabaseUnavailable
from billing_api.http import openapi
from billing_api.http.cookies import Cookies
from billing_api.kube import client as cluster
from billing_api.licensing import keys
from billing_api.routes import ROUTES
from billing_api.settings import Settings, describe, from_environment

log = logging.getLogger("billing_api")

#: sysexits.h: what has to change is the configuration, or only time has to pass.
_EX_CONFIG, _EX_UNAVAILABLE = 78, 69


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit 78 with the reason when the settings do not allow it, 69 without database."""
    if _parse_arguments().command == "openapi":
        sys.stdout.write(json.dumps(openapi.build(ROUTES, cookies=Cookies(secure=True)), indent=2) + "\n")
        return
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


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m billing_api",
        description="Serve the billing API. Everything is set by environment variables:",
        epilog="\n".join(f"{name}={default}\n    {text}" for name, default, text in describe()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("serve", "openapi"),
        default="serve",
        help="openapi prints the OpenAPI document instead of serving it",
    )
    return parser.parse_args()


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
