"""The REST API for devices, shadows and provisioning.

The image must listen on PORT, answer /api/health with 200 when it can serve, run as uid 1000 (`node` in Node's images)
and write to /tmp only. An init container waits for the database; the broker is waited for by the MQTT library.

It is told what the plan or the license grants in IOTISTIC_PLAN, IOTISTIC_FEATURES and IOTISTIC_LIMITS, the latter two
as JSON objects, with or without a license; -1 and null in the limits mean that there is none.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from customer_operator.components import bootstrap, mosquitto, objects, pods, postgres
from customer_operator.components.context import Context
from customer_operator.model import plans
from customer_operator.model.instance import Exposure
from customer_operator.naming import CONFIG_HASH_ANNOTATION, LICENSE_HASH_ANNOTATION, Manifest

COMPONENT = "api"
NAME = "api"
PORT = 3002
URL = f"http://{NAME}:{PORT}"

_LICENSE_SECRET = "license"  # noqa: S105 - the name of a Secret
_LICENSE = "IOTISTIC_LICENSE_KEY"
_LICENSE_KEYS = "IOTISTIC_LICENSE_JWKS"
_FEATURES = "IOTISTIC_FEATURES"
_LIMITS = "IOTISTIC_LIMITS"
_HEALTH = "/api/health"
_USER = 1000


def build(context: Context) -> list[Manifest]:
    """Return the account, the settings, the license, the Service and the Deployment."""
    settings, license_ = _settings(context), _license(context)
    kind = "NodePort" if context.platform.exposure_is_local else "ClusterIP"
    return [
        objects.service_account(context, COMPONENT, NAME),
        settings,
        license_,
        objects.service(context, COMPONENT, name=NAME, ports=[objects.port("http", PORT)], kind=kind),
        _deployment(context, settings=settings, license_=license_),
    ]


def _settings(context: Context) -> Manifest:
    """A Secret, so that what is personal or secret is not in the pod's own text."""
    customer, password = context.instance.customer, context.credentials.api_db_password
    # The database has no certificate; policies let only this namespace's clients speak to it.
    url = f"postgresql://{postgres.API_USER}:{quote(password, safe='')}@{postgres.NAME}:{postgres.PORT}"
    values = {
        "CUSTOMER_ID": customer.id,
        "CUSTOMER_EMAIL": customer.email,
        "CUSTOMER_COMPANY": customer.company_name,
        "DATABASE_URL": f"{url}/{postgres.DATABASE}?sslmode=disable",
        "POSTGRES_PASSWORD": password,
        **_mqtt(context),
    }
    return objects.secret(context, COMPONENT, name=NAME, values=values)


def _mqtt(context: Context) -> dict[str, str]:
    external = context.instance.mqtt.external
    if context.exposure is not Exposure.EXTERNAL or external is None:
        return {
            "MQTT_BROKER": mosquitto.URL,
            "MQTT_USERNAME": bootstrap.MQTT_API_USER,
            "MQTT_PASSWORD": context.credentials.mqtt_api_password,
        }
    values = {"MQTT_BROKER": external.url}
    if context.external_login:
        values["MQTT_USERNAME"] = context.external_login.username
        values["MQTT_PASSWORD"] = context.external_login.password
    return values


def _license(context: Context) -> Manifest:
    """A Secret of its own: its renewal concerns no other pod."""
    values = {
        _LICENSE: context.license_key,
        _LICENSE_KEYS: context.license_jwks,
        _FEATURES: _json(context.features),
        _LIMITS: _json(context.limits),
    }
    given = {key: value for key, value in values.items() if value}
    return objects.secret(context, COMPONENT, name=_LICENSE_SECRET, values=given)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _deployment(context: Context, *, settings: Manifest, license_: Manifest) -> Manifest:
    pod = pods.template(
        context,
        COMPONENT,
        account=NAME,
        user=_USER,
        annotations={
            CONFIG_HASH_ANNOTATION: objects.data_hash(settings),
            LICENSE_HASH_ANNOTATION: objects.data_hash(license_),
        },
        spec={
            "initContainers": [postgres.wait_until_ready(context)],
            "containers": [_server(context)],
            "volumes": [pods.scratch("tmp", "64Mi")],
        },
    )
    return pods.deployment(context, COMPONENT, name=NAME, pod=pod, strategy=pods.surge())


def _server(context: Context) -> Manifest:
    return pods.container(
        name="api",
        image=context.image("api"),
        resources=plans.resources("api", context.instance.resources),
        ports={"http": PORT},
        env=_environment(context),
        mounts=[pods.mount("tmp", "/tmp")],  # noqa: S108 - a volume's mount point in the container
        probes={
            # Five minutes, for the migrations of a first start.
            "startupProbe": pods.http(_HEALTH, "http", periodSeconds=2, timeoutSeconds=5, failureThreshold=150),
            "readinessProbe": pods.http(_HEALTH, "http", periodSeconds=10, timeoutSeconds=5, failureThreshold=3),
            # Only the port: when the database is away, starting the API again would not bring it back.
            "livenessProbe": pods.tcp("http", periodSeconds=20, timeoutSeconds=5, failureThreshold=3),
        },
    )


def _environment(context: Context) -> list[Manifest]:
    return [
        pods.env("NODE_ENV", "production"),
        pods.env("PORT", str(PORT)),
        pods.env("IOTISTIC_PLAN", context.plan.value),
        pods.secret_env(_LICENSE, _LICENSE_SECRET, optional=True),
        pods.secret_env(_LICENSE_KEYS, _LICENSE_SECRET, optional=True),
        pods.secret_env(_FEATURES, _LICENSE_SECRET),
        pods.secret_env(_LIMITS, _LICENSE_SECRET),
        pods.secret_env("CUSTOMER_ID", NAME),
        pods.secret_env("CUSTOMER_EMAIL", NAME),
        pods.secret_env("CUSTOMER_COMPANY", NAME),
        pods.secret_env("DATABASE_URL", NAME),
        pods.env("POSTGRES_HOST", postgres.NAME),
        pods.env("POSTGRES_PORT", str(postgres.PORT)),
        pods.env("POSTGRES_DB", postgres.DATABASE),
        pods.env("POSTGRES_USER", postgres.API_USER),
        pods.secret_env("POSTGRES_PASSWORD", NAME),
        pods.secret_env("MQTT_BROKER", NAME),
        # An external broker may be one that asks for no login.
        pods.secret_env("MQTT_USERNAME", NAME, optional=True),
        pods.secret_env("MQTT_PASSWORD", NAME, optional=True),
    ]
