"""The exporter of the broker's $SYS statistics as Prometheus metrics; nothing without a broker of our own.

Waits for the broker by connecting again and again; while it cannot, that is a metric (up 0), not a failure.
"""

from customer_operator.components import bootstrap, mosquitto, objects, pods
from customer_operator.components.context import Context
from customer_operator.model import plans
from customer_operator.naming import CONFIG_HASH_ANNOTATION, Manifest

COMPONENT = "mqtt-exporter"
NAME = "mqtt-exporter"
PORT = 9234

_USER = 65534


def build(context: Context) -> list[Manifest]:
    """Return the account, the login, the Service and the Deployment."""
    secret = objects.secret(
        context,
        COMPONENT,
        name=NAME,
        values={
            "MQTT_USERNAME": bootstrap.MQTT_EXPORTER_USER,
            "MQTT_PASSWORD": context.credentials.mqtt_exporter_password,
        },
    )
    return [
        objects.service_account(context, COMPONENT, NAME),
        secret,
        objects.service(context, COMPONENT, name=NAME, ports=[objects.port("metrics", PORT)]),
        _deployment(context, config_hash=objects.data_hash(secret)),
    ]


def _deployment(context: Context, *, config_hash: str) -> Manifest:
    pod = pods.template(
        context,
        COMPONENT,
        account=NAME,
        user=_USER,
        annotations={CONFIG_HASH_ANNOTATION: config_hash},
        spec={"containers": [_exporter(context)]},
    )
    # A gap of one scrape costs nothing; two exporters would need two client ids, and each count the other.
    return pods.deployment(context, COMPONENT, name=NAME, pod=pod, strategy=pods.recreate())


def _exporter(context: Context) -> Manifest:
    return pods.container(
        name="mqtt-exporter",
        image=context.image("mqttExporter"),
        resources=plans.resources("mqttExporter", context.instance.resources),
        ports={"metrics": PORT},
        env=[
            pods.env("PORT", str(PORT)),
            pods.env("MQTT_BROKER", mosquitto.URL),
            pods.secret_env("MQTT_USERNAME", NAME),
            pods.secret_env("MQTT_PASSWORD", NAME),
        ],
        probes={
            # /healthz fails when the thread that speaks to the broker hangs; with the broker away both paths answer.
            "startupProbe": pods.http("/healthz", "metrics", periodSeconds=2, timeoutSeconds=5, failureThreshold=30),
            "readinessProbe": pods.http("/metrics", "metrics", periodSeconds=20, timeoutSeconds=5, failureThreshold=3),
            "livenessProbe": pods.http("/healthz", "metrics", periodSeconds=20, timeoutSeconds=5, failureThreshold=3),
        },
    )
