"""A real PostgreSQL for the run, a database for each test, and the app on top of it."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from starlette.applications import Starlette

from billing_api.app import create_app
from billing_api.db import embedded
from billing_api.db.migrate import migrate
from billing_api.db.pool import Database
from billing_api.http.docs import OpenApi
from billing_api.kube.configuration import configuration
from billing_api.licensing.keys import KeyRing, SigningKey
from billing_api.settings import Settings
from tests.services.billing_api.conformance import Conformance
from tests.services.billing_api.fake_kubernetes import FakeKubernetes
from tests.services.billing_api.harness import Billing, Query, Start, StartAt, changed
from tests.services.billing_api.key_rotation import OVERLAP, put
from tests.support.billing import data_folder

_TEMPLATE = "template_billing"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The embedded server with a migrated template; the URL names the template."""
    with data_folder() as path, embedded.running(path, database=_TEMPLATE) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            # A database that lives for a minute need not survive a power cut.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        migrate(url)
        yield url


@pytest.fixture
def dsn(postgres: str) -> Iterator[str]:
    """A database of the test's own, with the schema."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(make_conninfo(postgres, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        yield postgres.replace(f"/{_TEMPLATE}?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def answer_seconds() -> float:
    """How long the database may take: on a busy machine longer than users are promised, where that is not the point."""
    return 20.0


@pytest.fixture
async def database(dsn: str, answer_seconds: float) -> AsyncIterator[Database]:
    async with Database(dsn, size=4, answer_seconds=answer_seconds) as opened:
        yield opened


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey.from_private(rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture
async def kubernetes() -> AsyncIterator[FakeKubernetes]:
    fake = FakeKubernetes()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Without a cluster; retries are quick."""
    return Settings(data_dir=tmp_path, outbox_retry_base_seconds=0.05, outbox_retry_max_seconds=0.2)


@pytest.fixture
def connected(settings: Settings, kubernetes: FakeKubernetes, tmp_path: Path) -> Settings:
    """The same with the fake cluster."""
    return changed(settings, kubeconfig=kubernetes.write_kubeconfig(tmp_path / "kubeconfig"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A DATA_DIR for a built-in database."""
    with data_folder() as path:
        yield path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with one key, as a Secret would be mounted."""
    put(tmp_path / "keys", "old")
    return tmp_path / "keys"


@pytest.fixture
def replicas(settings: Settings, keys: Path, tmp_path: Path) -> tuple[Settings, Settings]:
    """Two processes that share database, keys and secrets, each with a folder of its own."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    common = changed(
        settings,
        license_private_key_path=keys,
        license_key_overlap=OVERLAP,
        session_secret="s" * 32,
        idempotency_secret="i" * 32,
    )
    return changed(common, data_dir=tmp_path / "one"), changed(common, data_dir=tmp_path / "two")


@pytest.fixture
def start_at(signing_key: SigningKey, answer_seconds: float) -> StartAt:
    def at(dsn: str) -> Start:
        @asynccontextmanager
        async def run(settings: Settings) -> AsyncIterator[Billing]:
            kubernetes = await configuration(settings)
            ring = KeyRing.open(settings) if settings.license_private_key_path else KeyRing([signing_key])
            app: Starlette = create_app(
                settings, dsn=dsn, signing_keys=ring, kubernetes=kubernetes, answer_seconds=answer_seconds
            )
            async with app.router.lifespan_context(app):
                transport = httpx.ASGITransport(app=app)
                async with httpx.AsyncClient(transport=transport, base_url="https://billing.test") as client:
                    client.event_hooks["response"] = [Conformance(app.state.services.get(OpenApi).document)]
                    yield Billing(client, app)

        return run

    return at


@pytest.fixture
def start(dsn: str, start_at: StartAt) -> Start:
    return start_at(dsn)


@pytest.fixture
async def billing(start: Start, settings: Settings) -> AsyncIterator[Billing]:
    """The app without a cluster."""
    async with start(settings) as running:
        yield running


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """For each password that is really verified, the cost of that: nearly all the time that a login takes."""
    costs: list[bytes] = []
    verify = bcrypt.checkpw

    def check(password: bytes, password_hash: bytes) -> bool:
        costs.append(password_hash[:7])
        return verify(password, password_hash)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    return costs


@pytest.fixture
def query(dsn: str) -> Iterator[Query]:
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:

        def run(statement: str, *parameters: object) -> list[dict[str, Any]]:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

        yield run
