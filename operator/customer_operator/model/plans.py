"""What each plan gets: sizes, quota, features. One table, and the arithmetic that makes the quota fit the stack.

Sizes are the same for every plan, so that a change of plan moves no database. Storage is the same too: a volume claim
cannot be changed afterwards.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from customer_operator.model import quantity
from customer_operator.model.instance import CustomerInstance, Plan, ResourceOverride

Scalar: TypeAlias = bool | int | float | str
Features: TypeAlias = Mapping[str, Scalar]
Limits: TypeAlias = Mapping[str, int | None]

# Components by their keys in the contract.
_CORE: Final = ("postgres", "postgresExporter", "mosquitto", "mqttExporter", "api", "dashboard", "openCost")
_MONITORING: Final = ("prometheus", "grafana")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Requests and limits of one container as canonical quantities."""

    cpu: str
    memory: str
    cpu_limit: str
    memory_limit: str

    def manifest(self) -> dict[str, dict[str, str]]:
        """Return the container's `resources`."""
        return {
            "requests": {"cpu": self.cpu, "memory": self.memory},
            "limits": {"cpu": self.cpu_limit, "memory": self.memory_limit},
        }


# What was measured, and what was only taken over, is told in docs/architecture.md.
SIZES: Final[Mapping[str, Resources]] = {
    # Half the request is what PostgreSQL takes for its cache as that fills.
    "postgres": Resources(cpu="100m", memory="256Mi", cpu_limit="500m", memory_limit="512Mi"),
    # It answers one scrape every 30 s.
    "postgresExporter": Resources(cpu="10m", memory="32Mi", cpu_limit="100m", memory_limit="64Mi"),
    # With the authentication plugin it takes 48 MB idle, and each TLS session some 50 kB more. A login costs 70 ms of
    # CPU, and after an outage all devices come at once: the limit says how long that takes.
    "mosquitto": Resources(cpu="50m", memory="96Mi", cpu_limit="500m", memory_limit="256Mi"),
    "mqttExporter": Resources(cpu="10m", memory="64Mi", cpu_limit="100m", memory_limit="128Mi"),
    "api": Resources(cpu="250m", memory="256Mi", cpu_limit="500m", memory_limit="512Mi"),
    "dashboard": Resources(cpu="100m", memory="128Mi", cpu_limit="200m", memory_limit="256Mi"),
    # Memory grows with the cluster, not with the tenant.
    "openCost": Resources(cpu="200m", memory="256Mi", cpu_limit="500m", memory_limit="512Mi"),
    "prometheus": Resources(cpu="500m", memory="1Gi", cpu_limit="1", memory_limit="2Gi"),
    "grafana": Resources(cpu="100m", memory="128Mi", cpu_limit="200m", memory_limit="256Mi"),
}

# A shell that waits for a port; smaller than the container it precedes, so it adds nothing to the pod's amount.
WAITING: Final = Resources(cpu="10m", memory="16Mi", cpu_limit="100m", memory_limit="64Mi")

# cert-manager's pod that answers an HTTP-01 challenge: the defaults of its --acme-http01-solver-resource-* flags.
_SOLVER: Final = Resources(cpu="10m", memory="64Mi", cpu_limit="100m", memory_limit="64Mi")

_VOLUMES: Final[Mapping[str, str]] = {"postgres": "10Gi", "mosquitto": "1Gi", "prometheus": "10Gi", "grafana": "10Gi"}

# Deployments that start the new pod before they stop the old one: both count during a rollout.
_SURGING: Final = ("api", "dashboard", "openCost", "grafana")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A plan: which components it has, how many dashboards, and the least its namespace's quota grants.

    Features and limits are for the API to enforce, and hold when no license says otherwise; -1 means no limit.
    """

    components: tuple[str, ...]
    dashboard_replicas: int
    quota: Resources
    pods: int
    volumes: int
    features: Features
    limits: Limits
    # For containers that name no amounts; none of ours.
    container_default: Resources = Resources(cpu="50m", memory="64Mi", cpu_limit="200m", memory_limit="128Mi")


def _features(*, devices: int, days: int, webhooks: bool) -> Features:
    return {
        "maxDevices": devices,
        "dataRetentionDays": days,
        "alerting": True,
        "apiAccess": True,
        "webhooks": webhooks,
    }


def _limits(*, messages: int, requests: int) -> Limits:
    return {"mqttMessagesPerDay": messages, "apiRequestsPerDay": requests}


# With monitoring, Enterprise needs more than the limits of 4 CPU and 4Gi that suffice for the others. Dashboards hold
# no state, so the two larger plans keep one through a node's drain. Everything else is single: the API subscribes to
# the broker, and two of it would handle each message twice.
PLANS: Final[Mapping[Plan, Row]] = {
    Plan.TRIAL: Row(
        components=_CORE,
        dashboard_replicas=1,
        quota=Resources(cpu="2", memory="2Gi", cpu_limit="4", memory_limit="4Gi"),
        pods=15,
        volumes=5,
        features=_features(devices=10, days=90, webhooks=False),
        limits=_limits(messages=100_000, requests=10_000),
    ),
    Plan.STARTER: Row(
        components=_CORE,
        dashboard_replicas=1,
        quota=Resources(cpu="2", memory="2Gi", cpu_limit="4", memory_limit="4Gi"),
        pods=15,
        volumes=5,
        features=_features(devices=10, days=90, webhooks=False),
        limits=_limits(messages=100_000, requests=10_000),
    ),
    Plan.PROFESSIONAL: Row(
        components=_CORE,
        dashboard_replicas=2,
        quota=Resources(cpu="2", memory="3Gi", cpu_limit="4", memory_limit="4Gi"),
        pods=15,
        volumes=5,
        features=_features(devices=100, days=365, webhooks=True),
        limits=_limits(messages=1_000_000, requests=100_000),
    ),
    Plan.ENTERPRISE: Row(
        components=_CORE + _MONITORING,
        dashboard_replicas=2,
        quota=Resources(cpu="4", memory="4Gi", cpu_limit="8", memory_limit="8Gi"),
        pods=20,
        volumes=5,
        features=_features(devices=-1, days=730, webhooks=True),
        limits=_limits(messages=-1, requests=-1),
    ),
}

# Services are applied before the quota, so these may not depend on plan or exposure: a quota still small would refuse
# what the new plan brings. Nine Services (Enterprise), one of cert-manager's solver, two to spare. Node ports: five on
# a local platform, one of the solver, two to spare. One load balancer: the broker's.
_SERVICES: Final = 12
_NODE_PORTS: Final = 8
_LOAD_BALANCERS: Final = 1


def resources(key: str, overrides: Mapping[str, ResourceOverride]) -> Resources:
    """Return the effective resources of a component, by its key in the contract.

    A value left out keeps the plan's, moved just as far as keeps the request within the limit.
    """
    base, override = SIZES[key], overrides.get(key, ResourceOverride())
    cpu, cpu_limit = _merge(override.requests.cpu, override.limits.cpu, (base.cpu, base.cpu_limit))
    memory, memory_limit = _merge(override.requests.memory, override.limits.memory, (base.memory, base.memory_limit))
    return Resources(cpu=cpu, memory=memory, cpu_limit=cpu_limit, memory_limit=memory_limit)


def volume_size(key: str, instance: CustomerInstance) -> str:
    """Return the size of a component's volume as a canonical quantity."""
    volume = instance.storage.get(key)
    return (volume.size if volume else None) or _VOLUMES[key]


def quota(plan: Plan, instance: CustomerInstance) -> dict[str, str]:
    """Return the hard limits of the namespace: the plan's, or more where the instance's overrides need more."""
    row = PLANS[plan]
    needed = [resources(key, instance.resources) for key in _counted(row)] + [_SOLVER]
    volumes = [volume_size(key, instance) for key in row.components if key in _VOLUMES]
    return {
        "requests.cpu": quantity.decimal(_at_least(row.quota.cpu, (item.cpu for item in needed))),
        "requests.memory": quantity.binary(_at_least(row.quota.memory, (item.memory for item in needed))),
        "limits.cpu": quantity.decimal(_at_least(row.quota.cpu_limit, (item.cpu_limit for item in needed))),
        "limits.memory": quantity.binary(_at_least(row.quota.memory_limit, (item.memory_limit for item in needed))),
        "requests.storage": quantity.binary(_sum(volumes)),
        "persistentvolumeclaims": str(row.volumes),
        "pods": str(row.pods),
        "services": str(_SERVICES),
        "services.nodeports": str(_NODE_PORTS),
        "services.loadbalancers": str(_LOAD_BALANCERS),
    }


def _counted(row: Row) -> list[str]:
    """Return the containers that may exist at once, by key, each as often as it may."""
    further_dashboards = ("dashboard",) * (row.dashboard_replicas - 1)
    surge = tuple(key for key in row.components if key in _SURGING)
    return [*row.components, *further_dashboards, *surge]


def _at_least(least: str, amounts: Iterable[str]) -> Decimal:
    return max(quantity.parse(least), _sum(amounts))


def _sum(amounts: Iterable[str]) -> Decimal:
    return sum((quantity.parse(amount) for amount in amounts), Decimal(0))


def _merge(request: str | None, limit: str | None, base: tuple[str, str]) -> tuple[str, str]:
    merged_request, merged_limit = request or base[0], limit or base[1]
    if quantity.parse(merged_request) <= quantity.parse(merged_limit):
        return merged_request, merged_limit
    return (merged_request, merged_request) if limit is None else (merged_limit, merged_limit)
