"""The broker's certificate for the name that devices use, issued by cert-manager where the platform names an issuer.

Where web and MQTT host have the same issuer one certificate is for both: Let's Encrypt issues 50 new sets of names per
domain and week. Not so with a domain of the customer's own, which counts by itself, and which may not lead here yet:
the devices' certificate must not wait for it.
"""

from typing import Final

from customer_operator.components import objects
from customer_operator.components.context import Context
from customer_operator.model.instance import CustomerInstance, Exposure
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest

COMPONENT: Final = "certificate"
WEB_SECRET: Final = "web-tls"  # noqa: S105 - the name of a Secret, and of the Certificate that it is from
BROKER_SECRET: Final = "mosquitto-certificate"  # noqa: S105 - likewise


def is_wanted(instance: CustomerInstance, platform: Platform) -> bool:
    """Tell whether an issuer shall sign the broker's certificate: where there is a broker with a public name."""
    has_broker = platform.exposure(instance.mqtt.exposure) is not Exposure.EXTERNAL
    return platform.asks_for_certificates and has_broker


def is_shared(instance: CustomerInstance, platform: Platform) -> bool:
    """Tell whether the broker's certificate is the web's, too."""
    same = platform.mqtt_certificate_issuer == platform.cluster_issuer
    return is_wanted(instance, platform) and same and instance.hostname is None


def name_of(instance: CustomerInstance, platform: Platform) -> str:
    """Return the name of the broker's Certificate, and of the Secret that it is to be in."""
    return WEB_SECRET if is_shared(instance, platform) else BROKER_SECRET


def enabled(context: Context) -> bool:
    """Tell whether the instance has a Certificate."""
    return context.has_cert_manager and is_wanted(context.instance, context.platform)


def build(context: Context) -> list[Manifest]:
    """Return the Certificate; how long it is valid, and when it is renewed, is left to issuer and cert-manager."""
    name = name_of(context.instance, context.platform)
    shared = is_shared(context.instance, context.platform)
    spec: Manifest = {
        "secretName": name,
        "dnsNames": [*([context.web_host] if shared else []), context.mqtt_host],
        "issuerRef": {
            "group": "cert-manager.io",
            "kind": "ClusterIssuer",
            "name": context.platform.mqtt_certificate_issuer,
        },
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
    }
    metadata = objects.metadata(context, COMPONENT, name)
    return [{"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec}]
