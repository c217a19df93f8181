"""The operator's settings: one flat list, read once from the environment."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from customer_operator import naming
from customer_operator.errors import SettingInvalid

# Image names from the documents; versions of third-party images from their current releases (November 2026).
DEFAULT_IMAGES = {
    "postgres": "postgres:18.6-alpine",
    "postgresExporter": "quay.io/prometheuscommunity/postgres-exporter:v0.20.1",
    "mosquitto": "ghcr.io/lhns/mosquitto-go-auth:3.5.0",
    "mqttExporter": "iotistic/mqtt-exporter:latest",
    "api": "iotistic/api:latest",
    "dashboard": "iotistic/dashboard:latest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting has the environment variable of its name in capitals; times are seconds."""

    base_domain: str = "iotistic.cloud"
    web_host_template: str = "{name}.{base_domain}"
    mqtt_host_template: str = "mqtt.{name}.{base_domain}"
    ingress_class: str = ""
    cluster_issuer: str = "letsencrypt-prod"
    ingress_namespace: str = "ingress"
    router_namespace: str = "mqtt-router"
    monitoring_namespace: str = "monitoring"
    operator_namespace: str = naming.OPERATOR_NAMESPACE
    license_jwks_path: Path | None = None
    license_issuer: str = "https://billing.iotistic.cloud"
    license_grace: float = 3 * 86400.0
    queue_concurrency: int = 6
    queue_max_retries: int = 3  # requirements 002: QUEUE_MAX_RETRIES
    queue_retry_delay: float = 60.0  # requirements 002: QUEUE_RETRY_DELAY, there in milliseconds
    queue_age_step: float = 60.0
    resync_interval: float = 600.0
    quota_wait: float = 2.0
    apply_concurrency: int = 8
    probe_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    probe_port: int = 8080
    lease_duration: int = 15  # whole seconds: the Lease has no others
    lease_renew_deadline: float = 10.0
    lease_retry_period: float = 2.0
    identity: str = field(default_factory=socket.gethostname)
    kubeconfig: Path | None = None
    images: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_IMAGES))

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work."""
        positive = ("queue_concurrency", "apply_concurrency", "queue_retry_delay", "queue_age_step", "resync_interval")
        for name in positive:
            if getattr(self, name) <= 0:
                raise SettingInvalid(name.upper(), "must be greater than 0")
        if not self.lease_retry_period < self.lease_renew_deadline < self.lease_duration:
            raise SettingInvalid(
                "LEASE_DURATION",
                "must exceed LEASE_RENEW_DEADLINE, and that LEASE_RETRY_PERIOD, or two replicas may lead",
            )


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; an empty variable counts as absent.

    Images come from IMAGE_POSTGRES, IMAGE_MQTT_EXPORTER and so on. Raises SettingInvalid naming the variable.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for item in fields(Settings):
        text = environment.get(item.name.upper(), "")
        if text and item.name != "images":
            values[item.name] = _convert(item.name.upper(), text, _converter(item))
    images = {key: environment.get(f"IMAGE_{_snake(key)}") or image for key, image in DEFAULT_IMAGES.items()}
    return Settings(**values, images=images)


def _converter(item: Any) -> Callable[[str], Any]:
    if item.type in (Path, Path | None):
        return Path
    return str if item.default is MISSING else type(item.default)


def _convert(variable: str, text: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except ValueError as error:
        raise SettingInvalid(variable, f"must be a number ({convert.__name__}), not {text!r}") from error


def _snake(key: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() else letter for letter in key).upper()
