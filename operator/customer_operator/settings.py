"""The operator's settings: one flat list, read once from the environment."""

import math
import os
import re
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


# The least that makes sense; the lease's are those of kubernetes.aio.leaderelection.
_LEAST = {
    "license_grace": 0,
    "queue_concurrency": 1,
    "queue_max_retries": 1,
    "queue_retry_delay": 0.001,
    "queue_age_step": 0.001,
    "resync_interval": 0.001,
    "quota_wait": 0,
    "apply_concurrency": 1,
    "lease_retry_period": 1,
}
_LEASE_JITTER = 1.2
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123


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
    queue_concurrency: int = 10
    queue_max_retries: int = 3  # requirements 002: QUEUE_MAX_RETRIES
    queue_retry_delay: float = 60.0  # requirements 002: QUEUE_RETRY_DELAY, there in milliseconds
    queue_age_step: float = 60.0
    resync_interval: float = 600.0
    quota_wait: float = 2.0
    apply_concurrency: int = 16
    probe_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    probe_port: int = 8080
    lease_duration: int = 15  # whole seconds: the Lease has no others
    lease_renew_deadline: float = 10.0
    lease_retry_period: float = 2.0
    identity: str = field(default_factory=socket.gethostname)
    kubeconfig: Path | None = None
    images: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_IMAGES))

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) < math.inf:
                raise SettingInvalid(name.upper(), f"must be at least {least:g}, not {getattr(self, name)}")
        if not 0 <= self.probe_port <= 65535:
            raise SettingInvalid("PROBE_PORT", f"must be a port from 0 to 65535, not {self.probe_port}")
        if not _LEASE_JITTER * self.lease_retry_period < self.lease_renew_deadline < self.lease_duration:
            raise SettingInvalid(
                "LEASE_DURATION",
                f"must exceed LEASE_RENEW_DEADLINE, and that {_LEASE_JITTER} * LEASE_RETRY_PERIOD, "
                "or two replicas may lead",
            )
        for name in ("web_host_template", "mqtt_host_template"):
            _check_host(name.upper(), getattr(self, name), self.base_domain)


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


def _check_host(variable: str, template: str, base_domain: str) -> None:
    """Refuse a template that gives no host, or one host to two instances; a wrong base domain shows here as well."""
    try:
        hosts = {template.format(name=name, base_domain=base_domain) for name in ("a" * 40, "b" * 40)}
    except (LookupError, AttributeError, ValueError) as error:
        raise SettingInvalid(variable, f"may contain {{name}} and {{base_domain}} only, not {template!r}") from error
    if len(hosts) < 2:
        raise SettingInvalid(variable, f"must contain {{name}}, or all instances share one host; it is {template!r}")
    host = max(hosts)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise SettingInvalid(variable, f"with BASE_DOMAIN must give a DNS name in lower case, not {host!r}")


def _converter(item: Any) -> Callable[[str], Any]:
    if item.type in (Path, Path | None):
        return Path
    return str if item.default is MISSING else type(item.default)


def _convert(variable: str, text: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except ValueError as error:
        kind = "whole number" if convert is int else "number"
        raise SettingInvalid(variable, f"must be a {kind}, not {text!r}") from error


def _snake(key: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() else letter for letter in key).upper()
