"""The platform as the builders see it: what is the same for all instances, from the operator's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from customer_operator.model.instance import Exposure

# Base domain of a cluster on somebody's own machine: no DNS, no certificates, node ports for everything.
_LOCAL_DOMAIN: Final = "localhost"

Ranges: TypeAlias = tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """What is the same for all instances; `images` is keyed like spec.images (postgres, postgresExporter, …).

    `license_issuer` is who must have issued a tenant's license.
    `front_door` says whether there is a shared entrance for MQTT that chooses the broker by SNI.
    Without `dns_pod_labels` any pod of the DNS namespace counts.
    An empty ingress class means the cluster's default; an empty issuer, that the ingress controller has a certificate.
    Without an issuer of their own the brokers' certificates are signed by the platform's own authority.
    """

    base_domain: str
    reserved_hosts: tuple[str, ...]
    images: Mapping[str, str]
    image_registries: tuple[str, ...]
    web_host_template: str
    mqtt_host_template: str
    ingress_class: str
    ingress_annotations: Mapping[str, str]
    cluster_issuer: str
    mqtt_certificate_issuer: str
    ingress_namespace: str
    front_door: bool
    router_namespace: str
    cluster_ranges: Ranges
    monitoring_namespace: str
    dns_namespace: str
    dns_pod_labels: Mapping[str, str]
    operator_namespace: str
    license_issuer: str

    @property
    def exposure_is_local(self) -> bool:
        """Whether there is no domain: node ports instead of Ingress, front door and load balancers."""
        return self.base_domain == _LOCAL_DOMAIN

    @property
    def asks_for_certificates(self) -> bool:
        """Whether brokers are to have certificates by an issuer of cert-manager's."""
        return bool(self.mqtt_certificate_issuer) and not self.exposure_is_local

    def exposure(self, wanted: Exposure) -> Exposure:
        """Return how devices reach a broker here: by a node's port where there is no other way to do as wanted."""
        if wanted is Exposure.EXTERNAL:
            return wanted
        if self.exposure_is_local or (wanted is Exposure.SNI and not self.front_door):
            return Exposure.NODE_PORT
        return wanted
