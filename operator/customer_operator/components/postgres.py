"""PostgreSQL with its exporter: the API's data, and the users and ACLs that the broker checks.

Needs the official Alpine image of PostgreSQL 18 or later: there the server is uid 70, and the volume is mounted one
level above the data. Waits for nobody.
"""

from collections.abc import Sequence

from customer_operator.components import bootstrap, objects, pods
from customer_operator.components.context import Context
from customer_operator.model import plans
from customer_operator.naming import CONFIG_HASH_ANNOTATION, Manifest

COMPONENT = "postgres"
NAME = "postgres"
PORT = 5432
METRICS_PORT = 9187

DATABASE = bootstrap.DATABASE
API_USER = bootstrap.API_ROLE
BROKER_USER = bootstrap.BROKER_ROLE
BROKER_SCHEMA = bootstrap.SCHEMA

# The alpine image's user. Not 999, which is that of the Debian one: one volume must never see both.
_USER = 70
_EXPORTER_USER = 65534

_BOOTSTRAP_FILE = "bootstrap.sql"
_ADOPTION_FILE = "adoption.sql"
_BOOTSTRAP_PATH = "/etc/postgres"
_EXPORTER_PATH = "/etc/postgres-exporter"

# Runs beside every start of the server; the container counts as running, and is probed, only when this has succeeded,
# and is started again when it fails. The image's own /docker-entrypoint-initdb.d runs once in a volume's life: a node
# lost in that moment would leave a database without tables for good. The wait is for TCP, which the temporary
# server of the image's first start does not open. What PGOPTIONS says has precedence over the settings of a database or
# a role. The adoption runs code of the API, as the API; it may neither fail the start nor hold it up for good.
_BOOTSTRAP_COMMAND = (
    "until pg_isready -q -h 127.0.0.1; do sleep 1; done; "
    "export PGOPTIONS='-c search_path=pg_catalog,pg_temp'; "
    f"psql -q -X -U postgres -d postgres -f {_BOOTSTRAP_PATH}/{_BOOTSTRAP_FILE} && "
    f"{{ timeout 120 psql -q -X -U {API_USER} -d {DATABASE} -f {_BOOTSTRAP_PATH}/{_ADOPTION_FILE} || true; }}"
)

# Passwords over TCP, also from the exporter beside it; the socket is reached from this container alone.
# The builtin locale sorts the same on every C library, so a new image never breaks an index.
_INITDB_ARGS = "--auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8"


def build(context: Context) -> list[Manifest]:
    """Return the account, the Secret with passwords and schema, the Service and the StatefulSet."""
    secret = _secret(context)
    return [
        objects.service_account(context, COMPONENT, NAME),
        secret,
        objects.service(
            context,
            COMPONENT,
            name=NAME,
            ports=[objects.port("postgres", PORT), objects.port("metrics", METRICS_PORT)],
        ),
        _stateful_set(context, checksum=objects.data_hash(secret)),
    ]


def wait_until_ready(context: Context) -> Manifest:
    """Return an init container that ends when the database takes connections, for those that cannot start without it.

    It asks through the Service, which leads to the pod only when it is ready, that is, with roles and tables in place.
    """
    loop = f"until pg_isready -q -h {NAME} -p {PORT} -t 2; do sleep 1; done"
    return pods.container(
        name="wait-for-database",
        image=context.image("postgres"),
        command=["/bin/sh", "-c", loop],
        resources=plans.WAITING,
        user=_USER,
    )


def _secret(context: Context) -> Manifest:
    return objects.secret(
        context,
        COMPONENT,
        name=NAME,
        values={
            "password": context.credentials.postgres_password,
            "exporter-password": context.credentials.exporter_db_password,
            _BOOTSTRAP_FILE: bootstrap.sql(context.credentials),
            _ADOPTION_FILE: bootstrap.adoption_sql(),
        },
    )


def _stateful_set(context: Context, *, checksum: str) -> Manifest:
    pod = pods.template(
        context,
        COMPONENT,
        account=NAME,
        user=_USER,
        annotations={CONFIG_HASH_ANNOTATION: checksum},
        # A fast shutdown writes a checkpoint first; the image's authors find 10 s too short.
        grace_seconds=120,
        spec={"containers": [_server(context), _exporter(context)], "volumes": _volumes()},
    )
    size = plans.volume_size("postgres", context.instance)
    claim = pods.claim(context, COMPONENT, name="data", key="postgres", size=size)
    return pods.stateful_set(context, COMPONENT, name=NAME, pod=pod, claims=[claim])


def _server(context: Context) -> Manifest:
    ready = ("pg_isready", "-q", "-h", "127.0.0.1")
    server = pods.container(
        name="postgres",
        image=context.image("postgres"),
        resources=plans.resources("postgres", context.instance.resources),
        ports={"postgres": PORT},
        env=[
            pods.env("POSTGRES_PASSWORD_FILE", f"{_BOOTSTRAP_PATH}/password"),
            pods.env("POSTGRES_INITDB_ARGS", _INITDB_ARGS),
        ],
        mounts=[
            pods.mount("data", "/var/lib/postgresql"),
            pods.mount("bootstrap", _BOOTSTRAP_PATH, read_only=True),
            pods.mount("run", "/var/run/postgresql"),
            pods.mount("tmp", "/tmp"),  # noqa: S108 - a volume's mount point in the container
        ],
        probes={
            "startupProbe": pods.command(*ready, periodSeconds=2, timeoutSeconds=2, failureThreshold=150),
            "readinessProbe": pods.command(*ready, periodSeconds=5, timeoutSeconds=2, failureThreshold=3),
            # Only the port: a server that is recovering refuses sessions, and must not be killed for it.
            "livenessProbe": pods.tcp("postgres", periodSeconds=20, timeoutSeconds=5, failureThreshold=6),
        },
    )
    hook = {"postStart": {"exec": {"command": ["/bin/sh", "-c", _BOOTSTRAP_COMMAND]}}}
    return {**server, "lifecycle": hook}


def _exporter(context: Context) -> Manifest:
    """A database that is down is a metric (pg_up 0), so the probes ask for the exporter's own page."""
    return pods.container(
        name="postgres-exporter",
        image=context.image("postgresExporter"),
        resources=plans.resources("postgresExporter", context.instance.resources),
        ports={"metrics": METRICS_PORT},
        env=[
            # Within the pod, so without TLS; the database itself rather than "postgres", for statistics of its tables.
            pods.env("DATA_SOURCE_URI", f"127.0.0.1:{PORT}/{DATABASE}?sslmode=disable"),
            pods.env("DATA_SOURCE_USER", bootstrap.EXPORTER_ROLE),
            pods.env("DATA_SOURCE_PASS_FILE", f"{_EXPORTER_PATH}/exporter-password"),
        ],
        mounts=[pods.mount("exporter", _EXPORTER_PATH, read_only=True)],
        probes={
            "startupProbe": pods.http("/", "metrics", periodSeconds=2, timeoutSeconds=5, failureThreshold=30),
            "readinessProbe": pods.http("/", "metrics", periodSeconds=20, timeoutSeconds=5, failureThreshold=3),
            "livenessProbe": pods.http("/", "metrics", periodSeconds=20, timeoutSeconds=5, failureThreshold=3),
        },
        user=_EXPORTER_USER,
    )


def _volumes() -> Sequence[Manifest]:
    return [
        pods.secret_volume("bootstrap", NAME, ["password", _BOOTSTRAP_FILE, _ADOPTION_FILE]),
        pods.secret_volume("exporter", NAME, ["exporter-password"]),
        pods.scratch("run", "16Mi"),
        pods.scratch("tmp", "64Mi"),
    ]
