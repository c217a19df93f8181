"""Follows cert-manager's Certificates, where the cluster has that kind."""

from typing import Final

from customer_operator import naming
from customer_operator.kube.client import KubeClient
from customer_operator.kube.optional import OptionalReflector
from customer_operator.scheduling.intake import Intake

_ADVICE: Final = (
    "brokers get no certificate by MQTT_CERTIFICATE_ISSUER, and use those of the platform's own authority. Install "
    "cert-manager with its CRDs, or unset MQTT_CERTIFICATE_ISSUER; it is looked for again every ten seconds"
)


def certificate_reflector(client: KubeClient, intake: Intake) -> OptionalReflector:
    """Return what mirrors the Certificates of all instances; when the kind comes or goes, all are looked at."""
    return OptionalReflector(
        client,
        "Certificate",
        selector=naming.INSTANCE_LABEL,
        mirror=intake,
        advice=_ADVICE,
        on_change=intake.certificates_changed,
    )
