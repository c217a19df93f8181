"""The stack of one instance: which components, in which order, and what is applied when; pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from customer_operator import naming
from customer_operator.components import (
    api,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of the stack: its label, its builder, and the condition that speaks of it if it can fail on its own."""

    name: str
    build: Build
    condition: str | None = None


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
    Component(name="mosquitto", build=mosquitto.build, condition="MosquittoReady"),
    # A client of the broker.
    Component(name="mqtt-exporter", build=mqtt_exporter.build, condition="MqttExporterReady"),
    # A client of database and broker.
    Component(name="api", build=api.build, condition="ApiReady"),
    # OpenCost comes here: it serves nobody within the stack but Prometheus.
    # Prometheus (enterprise) comes here: it scrapes all of the above.
    # Grafana (enterprise) comes here: a client of Prometheus.
    # A client of the API.
    Component(name="dashboard", build=dashboard.build, condition="DashboardReady"),
    # Leads to dashboard, API and broker.
    Component(name="ingress", build=ingress.build),
)

# What is applied together. Within a wave the order does not matter; a later wave starts when the one before is applied.
WAVES: Final[tuple[frozenset[str], ...]] = (
    # Services before the ResourceQuota: once there is a quota, the API server refuses every object it counts ("status
    # unknown for quota") until the quota controller has computed its first status, about a second later.
    frozenset({"Service"}),
    # What workloads refer to or are limited by; none of these is counted by the quota, none needs another.
    frozenset(
        {
            "ConfigMap",
            "Ingress",
            "LimitRange",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "ResourceQuota",
            "Secret",
            "ServiceAccount",
        }
    ),
    # Workloads last, and only once the quota is enforced: their pods are counted, and must find default limits,
    # accounts, secrets and policies in place.
    frozenset({"Deployment", "StatefulSet"}),
)

WORKLOADS: Final = WAVES[-1]


def foundation(instance: CustomerInstance, platform: Platform) -> list[Manifest]:
    """Return what must exist first: the Namespace, then the RoleBinding by which the operator works in it."""
    return namespace.build(instance, platform)


def objects(context: Context) -> list[Manifest]:
    """Return all objects of an instance but its foundation, in the order of the components.

    Raises ValueError when two builders write the same object: they would overwrite each other for ever.
    """
    manifests = [manifest for component in COMPONENTS for manifest in component.build(context)]
    seen: set[tuple[str, str]] = set()
    for manifest in manifests:
        key = (manifest["kind"], manifest["metadata"]["name"])
        if key in seen:
            raise ValueError(f"two components build {key[0]} {key[1]}")
        seen.add(key)
    return manifests


def waves(manifests: Iterable[Manifest]) -> list[list[Manifest]]:
    """Return the objects grouped as they are to be applied, one list per entry of WAVES.

    Raises ValueError for a kind that WAVES does not know: its place must be decided, not guessed.
    """
    grouped: list[list[Manifest]] = [[] for _ in WAVES]
    for manifest in manifests:
        grouped[_wave_of(manifest["kind"])].append(manifest)
    return grouped


def workloads(manifests: Sequence[Manifest], component: str) -> list[Manifest]:
    """Return the Deployments and StatefulSets of a component among these objects: those its condition speaks of."""
    return [item for item in manifests if item["kind"] in WORKLOADS and component_of(item) == component]


def component_of(manifest: Manifest) -> str:
    """Return the name of the component an object belongs to, from its labels; "" when it has none."""
    return str((manifest["metadata"].get("labels") or {}).get(naming.COMPONENT_LABEL, ""))


def _wave_of(kind: str) -> int:
    for number, kinds in enumerate(WAVES):
        if kind in kinds:
            return number
    raise ValueError(f"{kind} has no place in WAVES")
