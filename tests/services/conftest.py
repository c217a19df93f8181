"""One generated stack, its database and its broker as real servers, for all tests of the run."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import bcrypt
import psycopg
import pytest

from customer_operator import naming
from customer_operator.components import stack
from customer_operator.components.bootstrap import MQTT_PROBE_USER
from customer_operator.components.context import Context
from customer_operator.credentials import certificates
from customer_operator.credentials import generation as credentials
from customer_operator.naming import Manifest
from tests.support.generate import make_context
from tests.support.mqtt import Login, MqttClient
from tests.support.pods import new_root, secret_values
from tests.support.tenant_broker import Programs, TenantBroker, find_mosquitto, find_plugin
from tests.support.tenant_database import TenantDatabase

Connection = psycopg.Connection[tuple[Any, ...]]

DEVICE_PASSWORD = "a-device's-password"


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """What the operator generates for one instance, with real credentials."""

    context: Context
    generated_at: datetime
    manifests: list[Manifest]

    def login(self, secret: str) -> Login:
        """Return the MQTT user name and password that a component finds in its Secret."""
        values = secret_values(self.manifests, secret)
        return Login(values["MQTT_USERNAME"], values["MQTT_PASSWORD"])

    @property
    def probe(self) -> Login:
        """The MQTT user name and password of the operator itself, which no component has."""
        return Login(MQTT_PROBE_USER, self.context.credentials.mqtt_probe_password)


class Connect(Protocol):
    """Connects a client until the test ends, to the broker's plain listener unless told otherwise."""

    def __call__(self, login: Login | None, *, port: int = 0, **options: Any) -> MqttClient: ...


class MakeBroker(Protocol):
    """Makes a broker beside the usual one, not started."""

    def __call__(
        self, *, changes: Mapping[str, str] | None = None, programs: Programs | None = None
    ) -> TenantBroker: ...


class LoginAs(Protocol):
    """Connects to the database as a role (api, broker, exporter) with the password generated for it."""

    def __call__(self, role: str) -> Connection: ...


class EnterAs(Protocol):
    """Connects to any database of these tests as a role."""

    def __call__(self, database: TenantDatabase, role: str) -> Connection: ...


class AddUser(Protocol):
    """Adds a user of the broker until the test ends, and returns its login; acls are topics and access."""

    def __call__(
        self, name: str, *, acls: Mapping[str, int], active: bool = True, superuser: bool = False
    ) -> Login: ...


class AddDevice(Protocol):
    """Adds a device as the API does and returns its login."""

    def __call__(self, name: str, *, active: bool = True) -> Login: ...


@pytest.fixture(scope="session")
def tenant() -> Tenant:
    now = datetime.now(UTC)
    draft = make_context()
    hosts = naming.broker_hosts(draft.name, draft.platform.base_domain, draft.platform.mqtt_host_template)
    values = credentials.complete({}, authority=certificates.create_authority(now=now), hosts=hosts, now=now)
    context = make_context(credentials=credentials.parse(values))
    return Tenant(context=context, generated_at=now, manifests=stack.objects(context))


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder which the users of the pods may pass through; pytest's own is closed to them, and its path too long."""
    with tempfile.TemporaryDirectory(prefix="stack-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="session")
def tenant_database(tenant: Tenant, folder: Path) -> Iterator[TenantDatabase]:
    """The database as it is when its pod is ready for the first time."""
    database = TenantDatabase(tenant.manifests, root=new_root(folder))
    try:
        database.start()
        done = database.bootstrap()
        assert done.returncode == 0, done.stderr
        yield database
    finally:
        database.close()


@pytest.fixture(scope="session")
def programs(folder: Path) -> Programs:
    return Programs(mosquitto=find_mosquitto(), plugin=Path(shutil.copy(find_plugin(), folder)))


@pytest.fixture(scope="session")
def make_broker(
    tenant: Tenant, folder: Path, programs: Programs, tenant_database: TenantDatabase
) -> Iterator[MakeBroker]:
    usual = programs
    with ExitStack() as cleanup:

        def make(*, changes: Mapping[str, str] | None = None, programs: Programs | None = None) -> TenantBroker:
            broker = TenantBroker(
                tenant.manifests,
                root=new_root(folder),
                programs=programs or usual,
                database_port=tenant_database.port,
                changes=changes,
            )
            cleanup.callback(broker.close)
            return broker

        yield make


@pytest.fixture(scope="session")
def tenant_broker(make_broker: MakeBroker) -> TenantBroker:
    broker = make_broker()
    broker.start()
    return broker


@pytest.fixture
def connect(tenant_broker: TenantBroker) -> Iterator[Connect]:
    with ExitStack() as connections:

        def enter(login: Login | None, *, port: int = 0, **options: Any) -> MqttClient:
            return connections.enter_context(MqttClient(port or tenant_broker.plain, login, **options))

        yield enter


@pytest.fixture(scope="session")
def api_url(tenant: Tenant, tenant_database: TenantDatabase) -> str:
    """How the API reaches its database."""
    return tenant_database.local_url(secret_values(tenant.manifests, "api")["DATABASE_URL"])


@pytest.fixture
def new_database(tenant: Tenant, folder: Path) -> Iterator[TenantDatabase]:
    """A server on a new volume, without the bootstrap."""
    database = TenantDatabase(tenant.manifests, root=new_root(folder))
    try:
        database.start()
        yield database
    finally:
        database.close()


@pytest.fixture
def enter_as(tenant: Tenant) -> Iterator[EnterAs]:
    with ExitStack() as connections:

        def connect(database: TenantDatabase, role: str) -> Connection:
            password = getattr(tenant.context.credentials, f"{role}_db_password")
            connection = psycopg.connect(database.dsn(role, password), autocommit=True)
            connections.callback(connection.close)
            return connection

        yield connect


@pytest.fixture
def login_as(tenant_database: TenantDatabase, enter_as: EnterAs) -> LoginAs:
    return partial(enter_as, tenant_database)


@pytest.fixture(scope="session")
def device_hash() -> str:
    """As the API hashes: bcrypt at a cost of 10."""
    return bcrypt.hashpw(DEVICE_PASSWORD.encode(), bcrypt.gensalt(10)).decode()


@pytest.fixture
def add_user(api_url: str, device_hash: str) -> Iterator[AddUser]:
    added: list[str] = []

    def add(name: str, *, acls: Mapping[str, int], active: bool = True, superuser: bool = False) -> Login:
        added.append(name)
        with psycopg.connect(api_url) as connection:
            connection.execute(
                "INSERT INTO mqtt_users (username, password_hash, is_active, is_superuser) VALUES (%s, %s, %s, %s)",
                [name, device_hash, active, superuser],
            )
            for topic, access in acls.items():
                connection.execute(
                    "INSERT INTO mqtt_acls (username, topic, access) VALUES (%s, %s, %s)", [name, topic, access]
                )
        return Login(name, DEVICE_PASSWORD)

    yield add
    with psycopg.connect(api_url) as connection:
        connection.execute("DELETE FROM mqtt_users WHERE username = ANY(%s)", [added])


@pytest.fixture
def add_device(add_user: AddUser) -> AddDevice:
    def add(name: str, *, active: bool = True) -> Login:
        return add_user(name, acls={"t/%u/#": 7}, active=active)

    return add


def secrets_in(text: str, tenant: Tenant) -> list[str]:
    """Return the names of the generated passwords and hashes that occur in a text."""
    credentials = tenant.context.credentials
    names = [name for name in credentials.__slots__ if name.endswith(("_password", "_hash"))]
    return [name for name in names if getattr(credentials, name) in text]
