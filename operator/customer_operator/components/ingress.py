"""The way from the web into the instance: plain networking.k8s.io/v1, nothing that only one controller understands."""

from customer_operator.components import api, certificate, dashboard, mosquitto, objects
from customer_operator.components.context import Context
from customer_operator.model.instance import Exposure
from customer_operator.naming import Manifest

COMPONENT = "ingress"
NAME = "web"

_ISSUER_ANNOTATION = "cert-manager.io/cluster-issuer"


def enabled(context: Context) -> bool:
    """Tell whether there is a web host: on a local platform dashboard and API have node ports."""
    return not context.platform.exposure_is_local


def build(context: Context) -> list[Manifest]:
    """Return the Ingress."""
    platform = context.platform
    metadata = objects.metadata(context, COMPONENT, NAME)
    annotations = dict(platform.ingress_annotations)
    if certificate.is_shared(context.instance, platform):
        # Of an annotated Ingress cert-manager would make a second Certificate.
        annotations.pop(_ISSUER_ANNOTATION, None)
    elif platform.cluster_issuer:
        annotations[_ISSUER_ANNOTATION] = platform.cluster_issuer
    if annotations:
        metadata["annotations"] = annotations
    spec: Manifest = {"tls": [_tls(context)], "rules": [{"host": context.web_host, "http": {"paths": _paths(context)}}]}
    if platform.ingress_class:
        spec["ingressClassName"] = platform.ingress_class
    return [{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}]


def _tls(context: Context) -> Manifest:
    """Return the certificate's names: one certificate for web and, at the shared front door, MQTT.

    Let's Encrypt issues 50 new sets of names per domain and week: a second certificate per tenant, or a name added
    later, would halve the signups possible. The issuer must be able to prove both names (DNS-01, or one address).
    Where the broker has a Certificate, the MQTT host is in that (see certificate.py). Without an issuer the Ingress
    controller's own certificate is used.
    """
    if not context.platform.cluster_issuer:
        return {"hosts": [context.web_host]}
    with_mqtt = context.exposure is Exposure.SNI and not certificate.is_wanted(context.instance, context.platform)
    hosts = [context.web_host, *([context.mqtt_host] if with_mqtt else [])]
    return {"hosts": hosts, "secretName": certificate.WEB_SECRET}


def _paths(context: Context) -> list[Manifest]:
    paths = [_path("/", dashboard.NAME, port="http"), _path("/api", api.NAME, port="http")]
    if mosquitto.enabled(context):
        # MQTT over WebSocket, for browsers: the broker takes any path.
        paths.append(_path("/mqtt", mosquitto.NAME, port="websocket"))
    return paths


def _path(path: str, service: str, *, port: str) -> Manifest:
    return {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"name": port}}}}
