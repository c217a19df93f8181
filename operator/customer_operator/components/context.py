"""What the builders are given: everything that decides the objects, read and generated beforehand by others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from customer_operator import naming
from customer_operator.instance import CustomerInstance, Exposure, Plan

# Base domain of a cluster on somebody's own machine: no DNS, no certificates, node ports for everything.
LOCAL_DOMAIN: Final = "localhost"

# mosquitto-go-auth builds its DSN without quoting (facts section 1); the other passwords share the generator.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """What is the same for all instances; `images` is keyed like spec.images (postgres, postgresExporter, …).

    `license_jwks` is the public key set (JWKS document) by which a tenant's API verifies its licence.
    An empty ingress class means the cluster's default; an empty issuer, that the ingress controller has a certificate.
    """

    base_domain: str
    images: Mapping[str, str]
    web_host_template: str = naming.WEB_HOST_TEMPLATE
    mqtt_host_template: str = naming.MQTT_HOST_TEMPLATE
    ingress_class: str = ""
    ingress_annotations: Mapping[str, str] = field(default_factory=dict)
    cluster_issuer: str = ""
    ingress_namespace: str = "ingress"
    router_namespace: str = "mqtt-router"
    monitoring_namespace: str = "monitoring"
    dns_namespace: str = "kube-system"
    operator_namespace: str = naming.OPERATOR_NAMESPACE
    license_jwks: str | None = None

    @property
    def exposure_is_local(self) -> bool:
        """Whether there is no domain: node ports instead of Ingress, front door and load balancers."""
        return self.base_domain == LOCAL_DOMAIN


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Generated once per instance. Passwords are [A-Za-z0-9_-]; hashes are bcrypt; certificates PEM."""

    postgres_password: str = field(repr=False)
    api_db_password: str = field(repr=False)
    broker_db_password: str = field(repr=False)
    exporter_db_password: str = field(repr=False)
    mqtt_api_password: str = field(repr=False)
    mqtt_api_password_hash: str = field(repr=False)
    mqtt_exporter_password: str = field(repr=False)
    mqtt_exporter_password_hash: str = field(repr=False)
    tls_certificate_pem: str = field(repr=False)
    tls_private_key_pem: str = field(repr=False)
    tls_ca_pem: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what would break out of the configuration files it is written into; never shows the value."""
        for name in self.__slots__:
            if name.endswith("_password") and not _PLAIN.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} must consist of letters, digits, '_' and '-' only")
            if name.endswith("_hash") and not re.fullmatch(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", getattr(self, name)):
                raise ValueError(f"{name} must be a bcrypt hash")


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """User name and password for an external broker, as its owner chose them."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """All that the builders of one instance know. `plan` is the plan in force, whatever spec asks for.

    `scaled_down` keeps every object and all data, with no pod running. `external_login` belongs to spec.mqtt.external.
    """

    instance: CustomerInstance
    plan: Plan
    platform: Platform
    credentials: Credentials
    license_key: str | None = field(default=None, repr=False)
    external_login: Login | None = None
    scaled_down: bool = False

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.instance.name

    @property
    def namespace(self) -> str:
        """The instance's namespace."""
        return naming.namespace_of(self.instance.name)

    @property
    def exposure(self) -> Exposure:
        """How devices reach the broker here: a local platform has neither front door nor load balancers."""
        wanted = self.instance.mqtt.exposure
        if self.platform.exposure_is_local and wanted is not Exposure.EXTERNAL:
            return Exposure.NODE_PORT
        return wanted

    @property
    def web_host(self) -> str:
        """The host of dashboard and API: the customer's own domain, or one under the platform's."""
        platform = self.platform
        return self.instance.hostname or naming.web_host(self.name, platform.base_domain, platform.web_host_template)

    @property
    def mqtt_host(self) -> str:
        """The host that devices connect to."""
        return naming.mqtt_host(self.name, self.platform.base_domain, self.platform.mqtt_host_template)

    def image(self, component: str) -> str:
        """Return the image of a component, by its key in the contract; KeyError when the platform names none."""
        return self.instance.images.get(component) or self.platform.images[component]

    def replicas(self, wanted: int = 1) -> int:
        """Return the number of pods to run: none while the instance is scaled down."""
        return 0 if self.scaled_down else wanted
