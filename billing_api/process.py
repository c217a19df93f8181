"""The billing API as a process: its database, its server, and the order in which they begin and end."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from billing_api.app import create_app
from billing_api.db import embedded
from billing_api.db.migrate import migrate
from billing_api.http import server
from billing_api.http.stopping import Stop
from billing_api.kube import client as cluster
from billing_api.licensing import keys
from billing_api.settings import Settings

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once. To be called in the main thread.

    Raises:
        BillingError: it cannot start; the message says why and names the cure.
        SystemExit: status 0 when a signal came before it served, 1 when it does not come to that.
    """
    stop = Stop()
    stop.install()
    server.allow_files(connections=settings.max_connections)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kubernetes = asyncio.run(cluster.configuration(settings))
    signing_key = keys.load_or_generate(configured=settings.license_private_key_path, data_dir=settings.data_dir)
    with _database(settings) as dsn:
        migrate(dsn)
        registry = CollectorRegistry()
        app = create_app(settings, dsn=dsn, signing_key=signing_key, kubernetes=kubernetes, registry=registry)
        if not server.run(app, settings=settings, registry=registry, stop=stop):
            sys.exit(1)
    log.info("Stopped after %.1f s", stop.elapsed)


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    if settings.database_url:
        yield settings.database_url
        return
    log.info("DATABASE_URL is empty: starting the built-in PostgreSQL in %s", settings.data_dir)
    with embedded.running(settings.data_dir) as dsn:
        yield dsn
        log.info("Stopping the built-in PostgreSQL")
