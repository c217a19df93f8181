"""Where an instance answers: its URLs and node ports, from its spec and what the API server has allocated; pure."""

from collections.abc import Mapping

from customer_operator import naming
from customer_operator.model.instance import CustomerInstance, Exposure
from customer_operator.model.platform import Platform
from customer_operator.observed.cache import CachedObject, Key

MQTTS_PORT = 8883  # IANA: secure-mqtt

# status.ports by Service and port name.
_PORTS = {
    ("dashboard", "http"): "dashboard",
    ("api", "http"): "api",
    ("mqtt", "mqtt"): "mqtt",
    ("mqtt", "mqtts"): "mqttTls",
    ("mqtt", "websocket"): "mqttWebsocket",
}


def ports(objects: Mapping[Key, CachedObject]) -> dict[str, int]:
    """Return the node ports as status.ports has them; empty when the instance is not exposed by any."""
    found = {}
    for (service, port), name in _PORTS.items():
        known = objects.get(Key("Service", service))
        number = dict(known.node_ports).get(port) if known else None
        if number:
            found[name] = number
    return found


def urls(instance: CustomerInstance, platform: Platform, ports: Mapping[str, int]) -> dict[str, str]:
    """Return status.urls; an address that depends on a port not allocated yet is left out."""
    if platform.exposure_is_local:
        found = {
            "dashboard": _local("http", ports.get("dashboard")),
            "api": _local("http", ports.get("api")),
            "mqtt": _external(instance) or _local("mqtt", ports.get("mqtt")),
        }
    else:
        host = instance.hostname or naming.web_host(instance.name, platform.base_domain, platform.web_host_template)
        found = {"dashboard": f"https://{host}", "api": f"https://{host}/api", "mqtt": _mqtt(instance, platform, ports)}
    return {name: url for name, url in found.items() if url is not None}


def _local(scheme: str, port: int | None) -> str | None:
    return f"{scheme}://localhost:{port}" if port else None


def _mqtt(instance: CustomerInstance, platform: Platform, ports: Mapping[str, int]) -> str | None:
    host = naming.mqtt_host(instance.name, platform.base_domain, platform.mqtt_host_template)
    match platform.exposure(instance.mqtt.exposure):
        case Exposure.EXTERNAL:
            return _external(instance)
        case Exposure.NODE_PORT:
            return f"mqtts://{host}:{ports['mqttTls']}" if "mqttTls" in ports else None
        case _:
            return f"mqtts://{host}:{MQTTS_PORT}"


def _external(instance: CustomerInstance) -> str | None:
    return instance.mqtt.external.url if instance.mqtt.external else None
