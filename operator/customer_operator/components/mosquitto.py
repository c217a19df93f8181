"""Mosquitto, with users and ACLs in the instance's Postgres (mosquitto-go-auth).

Opens its ports only when the database answers, so its readiness says that devices can log in. With exposure External
there is no broker here at all.
"""

from string import Template
from typing import Final

from customer_operator.components import certificate, objects, pods, postgres
from customer_operator.components.context import Context
from customer_operator.model import plans
from customer_operator.model.instance import Exposure
from customer_operator.naming import (
    CERTIFICATE_ANNOTATION,
    CERTIFICATE_EXPIRY_ANNOTATION,
    CERTIFICATE_HASH_ANNOTATION,
    CONFIG_HASH_ANNOTATION,
    Manifest,
)
from customer_operator.observed.certificates import TLS_VOLUME

COMPONENT = "mosquitto"
NAME = "mosquitto"
DEVICE_SERVICE = "mqtt"  # the Service that devices reach
PORT = 1883
TLS_PORT = 8883
WEBSOCKET_PORT = 9001
URL = f"mqtt://{NAME}:{PORT}"

TLS_SECRET = "mosquitto-tls"  # noqa: S105 - the name of a Secret
_CONFIG_PATH = "/etc/mosquitto"  # the image starts the broker with mosquitto.conf from here
_TLS_PATH = "/etc/mosquitto-tls"
_DATA_PATH = "/var/lib/mosquitto"

# The first ordinary user of the image's Debian base.
_USER = 1000

# The options of the plugin are those of https://github.com/lhns/mosquitto-go-auth. sslmode: both pods are in one
# namespace, whose policies let nobody else speak to the database, and the database has no certificate. connect_tries:
# the default of one try ends the broker when it starts before the database. Checks block the broker's only thread,
# hence the cache. set_tcp_nodelay: otherwise CONNACK and PUBACK wait, behind what TLS has just sent, until the device's
# system confirms that, which it puts off for 40 ms.
_CONFIG: Final = Template("""\
allow_anonymous false

listener $port

listener $tls_port
certfile $tls_path/tls.crt
keyfile $tls_path/tls.key
tls_version tlsv1.2

listener $websocket_port
protocol websockets

persistence true
persistence_location $data_path/
autosave_interval 300
persistent_client_expiration 30d
max_packet_size 2000000
set_tcp_nodelay true
max_queued_messages 1000
sys_interval 10

log_dest stdout
log_type error
log_type warning
log_type notice
connection_messages false

auth_plugin /mosquitto/go-auth.so
auth_opt_backends postgres
auth_opt_pg_host $database_host
auth_opt_pg_port $database_port
auth_opt_pg_dbname $database
auth_opt_pg_user $database_user
auth_opt_pg_password $database_password
auth_opt_pg_sslmode disable
auth_opt_pg_connect_tries -1
auth_opt_pg_userquery SELECT password_hash FROM $schema.mqtt_users WHERE username=$$1 AND is_active LIMIT 1
auth_opt_pg_superquery SELECT count(*) FROM $schema.mqtt_users WHERE username=$$1 AND is_superuser AND is_active
auth_opt_pg_aclquery SELECT topic FROM $schema.mqtt_acls WHERE username=$$1 AND (access & $$2) <> 0
auth_opt_hasher bcrypt
auth_opt_hasher_cost 10
auth_opt_cache true
auth_opt_auth_cache_seconds 30
auth_opt_auth_jitter_seconds 3
auth_opt_acl_cache_seconds 30
auth_opt_acl_jitter_seconds 3
auth_opt_log_level info
auth_opt_log_dest stdout
""")


def enabled(context: Context) -> bool:
    """Tell whether the instance has a broker of its own."""
    return context.exposure is not Exposure.EXTERNAL


def build(context: Context) -> list[Manifest]:
    """Return the account, configuration, certificate, Services and StatefulSet."""
    config, local = _config(context), _local_certificate(context)
    return [
        objects.service_account(context, COMPONENT, NAME),
        config,
        local,
        _internal_service(context),
        _device_service(context),
        _stateful_set(context, config=config, local=local),
    ]


def _config(context: Context) -> Manifest:
    """A Secret, because the plugin takes the database's password from the configuration file only."""
    text = _CONFIG.substitute(
        port=PORT,
        tls_port=TLS_PORT,
        websocket_port=WEBSOCKET_PORT,
        tls_path=_TLS_PATH,
        data_path=_DATA_PATH,
        database_host=postgres.NAME,
        database_port=postgres.PORT,
        database=postgres.DATABASE,
        schema=postgres.BROKER_SCHEMA,
        database_user=postgres.BROKER_USER,
        database_password=context.credentials.broker_db_password,
    )
    return objects.secret(context, COMPONENT, name=NAME, values={"mosquitto.conf": text})


def _local_certificate(context: Context) -> Manifest:
    """The certificate of the platform's own authority, which is in ca.crt (see credentials/authority.py for a change).

    It is there whatever cert-manager does, for the time before, and after, an issued one.
    """
    values = {
        "tls.crt": context.credentials.tls_certificate_pem,
        "tls.key": context.credentials.tls_private_key_pem,
        "ca.crt": context.credentials.tls_ca_pem,
    }
    return objects.secret(context, COMPONENT, name=TLS_SECRET, values=values, kind="kubernetes.io/tls")


def _internal_service(context: Context) -> Manifest:
    """What API, exporter and Ingress use; never a node's port or a load balancer, for it has the plain listener."""
    ports = [objects.port("mqtt", PORT), objects.port("websocket", WEBSOCKET_PORT)]
    return objects.service(context, COMPONENT, name=NAME, ports=ports)


def _device_service(context: Context) -> Manifest:
    """What devices reach. Plain connections only on a local platform; elsewhere browsers come through the Ingress."""
    kinds = {Exposure.NODE_PORT: "NodePort", Exposure.LOAD_BALANCER: "LoadBalancer"}
    ports = [objects.port("mqtts", TLS_PORT)]
    if context.platform.exposure_is_local:
        ports += [objects.port("mqtt", PORT), objects.port("websocket", WEBSOCKET_PORT)]
    kind = kinds.get(context.exposure, "ClusterIP")
    return objects.service(context, COMPONENT, name=DEVICE_SERVICE, ports=ports, kind=kind)


def _stateful_set(context: Context, *, config: Manifest, local: Manifest) -> Manifest:
    pod = pods.template(
        context,
        COMPONENT,
        account=NAME,
        user=_USER,
        annotations={
            CONFIG_HASH_ANNOTATION: objects.data_hash(config),
            **_certificate_annotations(context, local),
        },
        spec={
            "containers": [_broker(context)],
            "volumes": [pods.secret_volume("config", NAME), _tls_volume(context)],
        },
    )
    size = plans.volume_size("mosquitto", context.instance)
    claim = pods.claim(context, COMPONENT, name="data", key="mosquitto", size=size)
    manifest = pods.stateful_set(context, COMPONENT, name=NAME, pod=pod, claims=[claim])
    if certificate.is_wanted(context.instance, context.platform):
        name = certificate.name_of(context.instance, context.platform)
        manifest["metadata"]["annotations"] = {CERTIFICATE_ANNOTATION: name}
    return manifest


def _certificate_annotations(context: Context, local: Manifest) -> dict[str, str]:
    """Replace the pod when the certificate that it uses is another one, and only then: it is read at the start."""
    if context.issued is None:
        return {CERTIFICATE_HASH_ANNOTATION: objects.data_hash(local)}
    return {
        CERTIFICATE_HASH_ANNOTATION: context.issued.hash,
        CERTIFICATE_EXPIRY_ANNOTATION: context.issued.expires_at,
    }


def _tls_volume(context: Context) -> Manifest:
    if context.issued is None:
        return pods.secret_volume(TLS_VOLUME, TLS_SECRET)
    return pods.secret_volume(TLS_VOLUME, context.issued.secret, ["tls.crt", "tls.key"])


def _broker(context: Context) -> Manifest:
    return pods.container(
        name="mosquitto",
        image=context.image("mosquitto"),
        resources=plans.resources("mosquitto", context.instance.resources),
        ports={"mqtt": PORT, "mqtts": TLS_PORT, "websocket": WEBSOCKET_PORT},
        mounts=[
            pods.mount("data", _DATA_PATH),
            pods.mount("config", _CONFIG_PATH, read_only=True),
            pods.mount(TLS_VOLUME, _TLS_PATH, read_only=True),
        ],
        probes={
            # Ten minutes: closed ports mean that it waits for the database, which starting again would not hasten.
            "startupProbe": pods.tcp("mqtt", periodSeconds=2, timeoutSeconds=2, failureThreshold=300),
            # All listeners open together, and Mosquitto 2.1 logs each knock at the one with TLS as an error.
            "readinessProbe": pods.tcp("mqtt", periodSeconds=10, timeoutSeconds=3, failureThreshold=3),
            "livenessProbe": pods.tcp("mqtt", periodSeconds=20, timeoutSeconds=5, failureThreshold=3),
        },
    )
