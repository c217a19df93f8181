"""The platform as the builders see it: what is the same for all instances, from the operator's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from customer_operator import naming
from customer_operator.model.instance import CustomerInstance, Exposure

# Base domain of a cluster on somebody's own machine: no DNS, no certificates, node ports for everything.
LOCAL_DOMAIN: Final = "localhost"


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

    def exposure_of(self, instance: CustomerInstance) -> Exposure:
        """Return how devices reach an instance's broker here: locally there are no front door and load balancers."""
        wanted = instance.mqtt.exposure
        if self.exposure_is_local and wanted is not Exposure.EXTERNAL:
            return Exposure.NODE_PORT
        return wanted
