"""The operator's settings: one flat list, read once from the environment."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from customer_operator import naming
from customer_operator.errors import SettingInvalid
from customer_operator.model import addresses, brokers, hostnames, images, metadata
from customer_operator.model.platform import Platform, Ranges

_SHOWN: Final = 200  # characters of a value that is wrong
_LEASE_JITTER: Final = 1.2  # as in client-go, leaderelection.go: JitterFactor

# How pydantic's complaints read here, by their type.
_COMPLAINTS: Final[Mapping[str, str]] = {
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}


def _from_text(parse: Callable[[str], Any]) -> BeforeValidator:
    """Return what reads a variable; defaults are no text."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


Namespace = Annotated[str, AfterValidator(metadata.namespace)]
NameOrNone = Annotated[str, AfterValidator(metadata.name_or_none)]
Issuer = Annotated[NameOrNone, AfterValidator(lambda name: "" if name == "none" else name)]
Domain = Annotated[str, AfterValidator(hostnames.domain)]
Domains = Annotated[tuple[str, ...], _from_text(hostnames.domains)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0.001, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Image = Annotated[str, AfterValidator(images.pinned)]
Images = Annotated[tuple[str, ...], _from_text(images.prefixes)]
AddressRanges = Annotated[Ranges, _from_text(brokers.ranges)]
Labels = Annotated[Mapping[str, str], _from_text(metadata.labels)]
Annotations = Annotated[Mapping[str, str], _from_text(metadata.annotations)]


class Settings(BaseSettings):
    """Every setting has the environment variable of its name in capitals; an empty one counts as not set.

    Times are seconds. A field with `repr=False` is never shown, neither here nor in an error.
    """

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, enable_decoding=False)

    base_domain: Domain = "iotistic.cloud"
    reserved_hosts: Domains = ()
    web_host_template: str = "{name}.{base_domain}"
    mqtt_host_template: str = "mqtt.{name}.{base_domain}"
    ingress_class: NameOrNone = ""
    # Some controllers take passwords in annotations.
    ingress_annotations: Annotations = Field(default_factory=dict, repr=False)
    cluster_issuer: Issuer = "letsencrypt-prod"
    mqtt_certificate_issuer: Issuer = ""
    ingress_namespace: Namespace = "ingress"
    router_namespace: Namespace = "mqtt-router"
    monitoring_namespace: Namespace = "monitoring"
    dns_namespace: Namespace = "kube-system"
    dns_pod_labels: Labels = Field(default_factory=lambda: {"k8s-app": "kube-dns"})
    front_door: bool = False
    route_publish_interval: Seconds = 1.0
    route_probe: bool = True
    route_probe_address: Annotated[str, AfterValidator(addresses.template)] = "mqtt-router.{router_namespace}.svc:8883"
    route_probe_interval: Seconds = 600.0
    route_probe_timeout: Seconds = 10.0
    route_probe_concurrency: Count = 8
    cluster_ranges: AddressRanges = brokers.PRIVATE
    operator_namespace: Namespace = naming.OPERATOR_NAMESPACE
    license_jwks_path: Path | None = None
    license_issuer: str = "https://billing.iotistic.cloud"
    license_grace: SecondsOrNone = 3 * 86400.0
    queue_concurrency: Count = 10
    queue_max_retries: Count = 3
    queue_retry_delay: Seconds = 60.0
    queue_age_step: Seconds = 60.0
    resync_interval: Seconds = 600.0
    quota_wait: SecondsOrNone = 2.0
    apply_concurrency: Count = 16
    probe_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    probe_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    lease_retry_period: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    lease_renew_deadline: Seconds = 10.0
    lease_duration: Count = 15  # whole seconds: the Lease has no others
    identity: str = Field(default_factory=socket.gethostname)
    kubeconfig: Path | None = None
    image_registries: Images = ()
    image_postgres: Image = "postgres:18.6-alpine"
    image_postgres_exporter: Image = "quay.io/prometheuscommunity/postgres-exporter:v0.20.1"
    image_mosquitto: Image = "ghcr.io/lhns/mosquitto-go-auth:3.5.0"
    image_mqtt_exporter: Image = "iotistic/mqtt-exporter:0.1.0"
    image_api: Image = "iotistic/api:1.0.0"
    image_dashboard: Image = "iotistic/dashboard:1.0.0"

    @property
    def images(self) -> Mapping[str, str]:
        """The platform's images, keyed like spec.images."""
        return {
            "postgres": self.image_postgres,
            "postgresExporter": self.image_postgres_exporter,
            "mosquitto": self.image_mosquitto,
            "mqttExporter": self.image_mqtt_exporter,
            "api": self.image_api,
            "dashboard": self.image_dashboard,
        }

    def platform(self) -> Platform:
        """Return what the builders need to know."""
        return Platform(**{item.name: getattr(self, item.name) for item in fields(Platform)})

    # A field sees those above it, as far as they are right. A validator of the whole would run only if all of them are.

    @field_validator("web_host_template", "mqtt_host_template")
    @classmethod
    def _gives_each_instance_a_host(cls, template: str, info: ValidationInfo) -> str:
        return hostnames.template(template, base_domain=info.data.get("base_domain", "example.com"))

    @field_validator("lease_duration")
    @classmethod
    def _has_one_leader(cls, duration: int, info: ValidationInfo) -> int:
        deadline, period = info.data.get("lease_renew_deadline"), info.data.get("lease_retry_period")
        if deadline and period and not _LEASE_JITTER * period < deadline < duration:
            limits = f"LEASE_RENEW_DEADLINE, and that {_LEASE_JITTER} * LEASE_RETRY_PERIOD"
            raise ValueError(f"must exceed {limits}, or two replicas may lead")
        return duration


def from_environment() -> Settings:
    """Return the settings of this process's environment; raises SettingInvalid, which names all that are wrong."""
    try:
        return Settings()
    except ValidationError as error:
        # Not as its cause: pydantic's own text shows every value.
        raise SettingInvalid({str(item["loc"][0]).upper(): _explain(item) for item in error.errors()}) from None


def _explain(item: Any) -> str:
    context = item.get("ctx", {})
    wrong = str(context.get("error", "")) or _COMPLAINTS.get(item["type"], item["msg"]).format(**context)
    return wrong + (f"; it is {str(item['input'])[:_SHOWN]!r}" if Settings.model_fields[item["loc"][0]].repr else "")
