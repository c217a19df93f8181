"""Which connections are allowed: none, but for the flows listed here, each written on both ends."""

from collections.abc import Sequence
from ipaddress import ip_address

from customer_operator import naming
from customer_operator.components import api, dashboard, mosquitto, mqtt_exporter, objects, postgres
from customer_operator.components.context import Context
from customer_operator.model import brokers
from customer_operator.model.instance import Exposure, ExternalBroker
from customer_operator.naming import Manifest

COMPONENT = "network"

# The pod of cert-manager that answers an HTTP-01 challenge while a certificate is ordered: label and port are its own.
_SOLVER_LABEL = {"acme.cert-manager.io/http01-solver": "true"}
_SOLVER_PORT = 8089

_ANYWHERE: tuple[Manifest, ...] = ()


def build(context: Context) -> list[Manifest]:
    """Return the refusal of everything, and one policy per component with its own flows, in and out."""
    return [
        _deny_all(context),
        _database(context),
        *([_broker(context), _mqtt_exporter(context)] if mosquitto.enabled(context) else []),
        _api(context),
        _dashboard(context),
        *([] if context.platform.exposure_is_local else [_certificate_solver(context)]),
    ]


def _deny_all(context: Context) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": objects.metadata(context, COMPONENT, "default-deny"),
        # Empty lists, here and below, are written all the same: what somebody adds to one that is not ours would stay.
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []},
    }


def _database(context: Context) -> Manifest:
    clients = [_pods(context, api.COMPONENT)]
    if mosquitto.enabled(context):
        clients.append(_pods(context, mosquitto.COMPONENT))
    return _policy(
        context,
        postgres.COMPONENT,
        ingress=[_from(clients, postgres.PORT), _from([_monitoring(context)], postgres.METRICS_PORT)],
    )


def _broker(context: Context) -> Manifest:
    clients = [_pods(context, api.COMPONENT), _pods(context, mqtt_exporter.COMPONENT)]
    return _policy(
        context,
        mosquitto.COMPONENT,
        ingress=[_from(clients, mosquitto.PORT), *_devices(context)],
        egress=[_dns(context), _to([_pods(context, postgres.COMPONENT)], postgres.PORT)],
    )


def _devices(context: Context) -> list[Manifest]:
    """Return how devices come in: through the front door, a node's port or a load balancer, browsers by the Ingress."""
    match context.exposure:
        case Exposure.SNI:
            front = _from([_namespace(context.platform.router_namespace)], mosquitto.TLS_PORT)
        case Exposure.NODE_PORT if context.platform.exposure_is_local:
            return [_from(_ANYWHERE, mosquitto.PORT, mosquitto.TLS_PORT, mosquitto.WEBSOCKET_PORT)]
        case _:
            front = _from(_ANYWHERE, mosquitto.TLS_PORT)
    return [front, _from([_namespace(context.platform.ingress_namespace)], mosquitto.WEBSOCKET_PORT)]


def _mqtt_exporter(context: Context) -> Manifest:
    return _policy(
        context,
        mqtt_exporter.COMPONENT,
        ingress=[_from([_monitoring(context)], mqtt_exporter.PORT)],
        egress=[_dns(context), _to([_pods(context, mosquitto.COMPONENT)], mosquitto.PORT)],
    )


def _api(context: Context) -> Manifest:
    external = context.instance.mqtt.external
    return _policy(
        context,
        api.COMPONENT,
        ingress=[
            *_web(context, api.PORT),
            _from([_pods(context, dashboard.COMPONENT), _monitoring(context)], api.PORT),
        ],
        egress=[
            _dns(context),
            _to([_pods(context, postgres.COMPONENT)], postgres.PORT),
            *(
                _external(context, external)
                if external
                else [_to([_pods(context, mosquitto.COMPONENT)], mosquitto.PORT)]
            ),
        ],
    )


def _dashboard(context: Context) -> Manifest:
    return _policy(
        context,
        dashboard.COMPONENT,
        ingress=_web(context, dashboard.PORT),
        egress=[_dns(context), _to([_pods(context, api.COMPONENT)], api.PORT)],
    )


def _certificate_solver(context: Context) -> Manifest:
    policy = _policy(
        context,
        COMPONENT,
        ingress=[_from([_namespace(context.platform.ingress_namespace)], _SOLVER_PORT)],
    )
    policy["metadata"]["name"] = "certificate-solver"
    policy["spec"]["podSelector"] = {"matchLabels": dict(_SOLVER_LABEL)}
    return policy


def _web(context: Context, port: int) -> list[Manifest]:
    """Return how browsers come in: through the Ingress controller, or on a local platform to a node's port."""
    if context.platform.exposure_is_local:
        return [_from(_ANYWHERE, port)]
    return [_from([_namespace(context.platform.ingress_namespace)], port)]


def _external(context: Context, target: ExternalBroker) -> list[Manifest]:
    """Return the flow to somebody else's broker.

    A policy knows addresses only: a host name, which may come to stand for any, leaves the port and all that is outside
    the platform.
    """
    try:
        address = ip_address(target.host)
    except ValueError:
        blocks = [_block(cidr, holes) for cidr, holes in brokers.outside(context.platform.cluster_ranges).items()]
        # A rule without peers would allow every one.
        return [_to(blocks, target.port)] if blocks else []
    return [_to([_block(f"{address}/{address.max_prefixlen}")], target.port)]


def _policy(
    context: Context, component: str, *, ingress: Sequence[Manifest], egress: Sequence[Manifest] = ()
) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": objects.metadata(context, COMPONENT, component),
        "spec": {
            "podSelector": {"matchLabels": naming.selector(context.name, component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": list(ingress),
            "egress": list(egress),
        },
    }


def _from(peers: Sequence[Manifest], *ports: int) -> Manifest:
    """Return an ingress rule; without peers it means from anywhere."""
    rule: Manifest = {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}
    return {**rule, "from": list(peers)} if peers else rule


def _to(peers: Sequence[Manifest], port: int) -> Manifest:
    return {"to": list(peers), "ports": [{"port": port, "protocol": "TCP"}]}


def _dns(context: Context) -> Manifest:
    platform = context.platform
    # One peer with two selectors: both must match. Two peers would allow either.
    pods = {"podSelector": {"matchLabels": dict(platform.dns_pod_labels)}} if platform.dns_pod_labels else {}
    return {
        "to": [{**_namespace(platform.dns_namespace), **pods}],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    }


def _pods(context: Context, component: str) -> Manifest:
    return {"podSelector": {"matchLabels": naming.selector(context.name, component)}}


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _monitoring(context: Context) -> Manifest:
    return _namespace(context.platform.monitoring_namespace)


def _block(cidr: str, holes: Sequence[str] = ()) -> Manifest:
    return {"ipBlock": {"cidr": cidr, **({"except": list(holes)} if holes else {})}}
