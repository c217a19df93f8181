"""The stack of one instance: which components, in which order, and what is applied when; pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from customer_operator.components import (
    api,
    certificate,
    dashboard,
    guardrails,
    ingress,
    mosquitto,
    mqtt_exporter,
    namespace,
    network,
    postgres,
)
from customer_operator.components.context import Context
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest

Build = Callable[[Context], list[Manifest]]


def always(_: Context) -> bool:
    """Return True: every instance has it."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of the stack: its label, its builder, the condition that speaks of it if it can fail on its own.

    `enabled` tells whether an instance has it at all.
    """

    name: str
    build: Build
    condition: str | None = None
    enabled: Callable[[Context], bool] = always


# The order is that of dependence, which is also how status.stages reads and how a person would look for a cause:
# nothing here waits for its predecessor (workloads wait for each other themselves).
COMPONENTS: Final[tuple[Component, ...]] = (
    # Limits what all the others may use, so it is looked at first when their pods are missing.
    Component(name="guardrails", build=guardrails.build),
    # Without its flows no component reaches another: the second place to look.
    Component(name="network", build=network.build),
    # Needs nobody; the broker's users and the API's data are in it.
    Component(name="postgres", build=postgres.build, condition="PostgresReady"),
    # Opens its ports only when it has reached the database.
    Component(name="mosquitto", build=mosquitto.build, condition="MosquittoReady", enabled=mosquitto.enabled),
    # A client of the broker.
    Component(
        name="mqtt-exporter", build=mqtt_exporter.build, condition="MqttExporterReady", enabled=mosquitto.enabled
    ),
    # A client of database and broker.
    Component(name="api", build=api.build, condition="ApiReady"),
    # OpenCost comes here: it serves nobody within the stack but Prometheus.
    # Prometheus (enterprise) comes here: it scrapes all of the above.
    # Grafana (enterprise) comes here: a client of Prometheus.
    # A client of the API.
    Component(name="dashboard", build=dashboard.build, condition="DashboardReady"),
    # Takes others minutes; broker and Ingress go on with what they have until it is there. Its condition is there only
    # where it is asked for (reconcile/observation.py).
    Component(name="certificate", build=certificate.build, enabled=certificate.enabled),
    # Leads to dashboard, API and broker.
    Component(name="ingress", build=ingress.build, enabled=ingress.enabled),
)


def foundation(instance: CustomerInstance, platform: Platform) -> list[Manifest]:
    """Return what must exist first: the Namespace, then the RoleBinding by which the operator works in it."""
    return namespace.build(instance, platform)


def enabled(context: Context) -> list[Component]:
    """Return the components that an instance has, in their order."""
    return [component for component in COMPONENTS if component.enabled(context)]


def objects(context: Context) -> list[Manifest]:
    """Return all objects of an instance but its foundation, in the order of the components.

    Raises ValueError when two builders write the same object: they would overwrite each other for ever.
    """
    manifests = [manifest for component in enabled(context) for manifest in component.build(context)]
    seen: set[tuple[str, str]] = set()
    for manifest in manifests:
        key = (manifest["kind"], manifest["metadata"]["name"])
        if key in seen:
            raise ValueError(f"two components build {key[0]} {key[1]}")
        seen.add(key)
    return manifests
