"""The billing API as a process: its database, its server, and the order in which they begin and end."""

import asyncio
import logging
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile

from prometheus_client import CollectorRegistry

from billing_api import files, own_secrets
from billing_api.app import create_app
from billing_api.db import arrival, embedded
from billing_api.db.migrate import migrate
from billing_api.db.pool import OTHER_CONNECTIONS, Database, connections_allowed
from billing_api.errors import SettingsError
from billing_api.http import listening, server
from billing_api.http.stopping import Stop
from billing_api.kube.configuration import configuration
from billing_api.licensing.keys import KeyFiles, KeyRing
from billing_api.licensing.publication import admit
from billing_api.own_secrets import OwnSecrets
from billing_api.settings import Settings

#: Nobody waits for an answer yet.
_START_SECONDS = 10.0

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
    with listening.bound(settings.host, settings.port) as sockets:
        _serve(settings, stop, sockets)
    log.info("Stopped after %.1f s", stop.elapsed)


def _serve(settings: Settings, stop: Stop, sockets: Sequence[socket.socket]) -> None:
    _make_folder(settings)
    kubernetes = asyncio.run(configuration(settings))
    OwnSecrets.load(settings)
    signing_keys = KeyRing.open(settings)
    _require_own(settings)
    with _database(settings, stop) as dsn:
        migrate(dsn)
        asyncio.run(_admit(dsn, signing_keys, settings))
        registry = CollectorRegistry()
        app = create_app(settings, dsn=dsn, signing_keys=signing_keys, kubernetes=kubernetes, registry=registry)
        if not server.run(app, sockets=sockets, settings=settings, registry=registry, stop=stop):
            sys.exit(1)


def _make_folder(settings: Settings) -> None:
    """Make DATA_DIR; where more than jwks.json goes there, find out now whether files can be made in it."""
    path = settings.data_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not settings.database_url:
            TemporaryFile(dir=path).close()
    except OSError as error:
        raise SettingsError(
            f"DATA_DIR: {path} cannot be used as a folder of our own ({error.strerror}); make it, owned by the user "
            "that runs the billing API, or choose another"
        ) from error


def _require_own(settings: Settings) -> None:
    """Refuse secrets that others could have written, and tell of a DATA_DIR in which they could replace them."""
    sessions, idempotency = own_secrets.paths(settings)
    keys = KeyFiles.of(settings)
    found = {
        "SESSION_SECRET": () if settings.session_secret else (sessions,),
        "IDEMPOTENCY_SECRET": () if settings.idempotency_secret else (idempotency,),
        "LICENSE_PRIVATE_KEY_PATH": keys.paths(),
    }
    for name, paths in found.items():
        for path in paths:
            files.require_own(path, name=name)
    in_folder = any(path.is_relative_to(settings.data_dir) for paths in found.values() for path in paths)
    if in_folder or not settings.database_url:
        files.warn_of_others(settings.data_dir)


async def _admit(dsn: str, signing_keys: KeyRing, settings: Settings) -> None:
    """Refuse unusable keys before the server starts, where a refusal is told in words; warn of too small a database."""
    async with Database(dsn, size=1, answer_seconds=_START_SECONDS) as database:
        await admit(database, signing_keys)
        async with database.transaction() as connection:
            allowed = await connections_allowed(connection)
    needed = settings.database_pool_size + OTHER_CONNECTIONS
    if needed > allowed:
        log.warning(
            "DATABASE_POOL_SIZE=%d: each process needs %d connections, and the database allows %d in all; "
            "set it lower, or raise max_connections there",
            settings.database_pool_size,
            needed,
            allowed,
        )


@contextmanager
def _database(settings: Settings, stop: Stop) -> Iterator[str]:
    if settings.database_url:
        arrival.wait_until_there(settings.database_url, seconds=settings.database_wait)
        yield settings.database_url
        return
    log.info("DATABASE_URL is empty: starting the built-in PostgreSQL in %s", settings.data_dir)
    with embedded.running(settings.data_dir, on_lost=stop.from_any_thread) as dsn:
        yield dsn
        log.info("Stopping the built-in PostgreSQL")
