"""Every kind the operator handles: where the API server has it, when it is applied, and whether it is watched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from customer_operator import naming
from customer_operator.naming import Manifest


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind's place in the API.

    `wave` is when its objects are applied (see WAVES; None: not part of a stack, or read only). `watched` kinds are
    mirrored from the whole cluster by their label; the others may only be read inside a customer's namespace.
    `optional` kinds are mirrored only if they are asked for, and the cluster may not have them at all.
    """

    prefix: str
    plural: str
    namespaced: bool = True
    wave: int | None = None
    watched: bool = False
    optional: bool = False


# Within a wave the order does not matter; a later wave starts when the one before is applied.
# 0: Services before the ResourceQuota: once there is a quota, the API server refuses every object it counts ("status
#    unknown for quota") until the quota controller has computed its first status, about a second later.
# 1: What workloads refer to or are limited by; none of these is counted by the quota, none needs another.
# 2: Workloads only once the quota is enforced: their pods are counted, and must find default limits, accounts, secrets
#    and policies in place.
# 3: What no workload waits for, and somebody else's webhook may refuse: nothing must be missing for that.
WAVES: Final = 4
_WORKLOADS: Final = 2

KINDS: Final[Mapping[str, Kind]] = {
    naming.KIND: Kind(f"/apis/{naming.API_VERSION}", naming.PLURAL, namespaced=False),
    "Namespace": Kind("/api/v1", "namespaces", namespaced=False, watched=True),
    "RoleBinding": Kind("/apis/rbac.authorization.k8s.io/v1", "rolebindings", watched=True),
    "Service": Kind("/api/v1", "services", wave=0, watched=True),
    "LimitRange": Kind("/api/v1", "limitranges", wave=1, watched=True),
    "ResourceQuota": Kind("/api/v1", "resourcequotas", wave=1, watched=True),
    # Not watched: the right to read Secrets is never held for the whole cluster.
    "Secret": Kind("/api/v1", "secrets", wave=1),
    "ServiceAccount": Kind("/api/v1", "serviceaccounts", wave=1, watched=True),
    "Ingress": Kind("/apis/networking.k8s.io/v1", "ingresses", wave=1, watched=True),
    "NetworkPolicy": Kind("/apis/networking.k8s.io/v1", "networkpolicies", wave=1, watched=True),
    "PodDisruptionBudget": Kind("/apis/policy/v1", "poddisruptionbudgets", wave=1, watched=True),
    "Deployment": Kind("/apis/apps/v1", "deployments", wave=_WORKLOADS, watched=True),
    "StatefulSet": Kind("/apis/apps/v1", "statefulsets", wave=_WORKLOADS, watched=True),
    "Certificate": Kind("/apis/cert-manager.io/v1", "certificates", wave=3, watched=True, optional=True),
    # The front door's routes alone, in the namespace of the router.
    "ConfigMap": Kind("/api/v1", "configmaps"),
    # Read on demand: why a component does not become ready, and whether a database has data.
    "Pod": Kind("/api/v1", "pods"),
    "PersistentVolumeClaim": Kind("/api/v1", "persistentvolumeclaims"),
}

WATCHED: Final = tuple(kind for kind, entry in KINDS.items() if entry.watched and not entry.optional)
# What a comparison has to list in the namespace, because no watch tells of it.
UNWATCHED: Final = tuple(kind for kind, entry in KINDS.items() if entry.wave is not None and not entry.watched)
WORKLOADS: Final = tuple(kind for kind, entry in KINDS.items() if entry.wave == _WORKLOADS)


def api_version(kind: str) -> str:
    """Return the apiVersion of a kind's objects."""
    return KINDS[kind].prefix.removeprefix("/apis/").removeprefix("/api/")


def path_of(kind: str, *, namespace: str | None = None, name: str | None = None) -> str:
    """Return the REST path of an object, or of all objects of a kind, in one namespace or in all of them.

    Raises ValueError when an object of a namespaced kind is named without its namespace, or the other way round.
    """
    entry = KINDS[kind]
    if (not entry.namespaced and namespace is not None) or (entry.namespaced and name is not None and not namespace):
        raise ValueError(f"{kind} {'needs a' if entry.namespaced else 'has no'} namespace")
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{entry.prefix}{scope}/{entry.plural}" + (f"/{name}" if name else "")


def waves(manifests: Iterable[Manifest]) -> list[list[Manifest]]:
    """Return the objects grouped as they are to be applied.

    Raises ValueError for a kind without a wave: its place must be decided, not guessed.
    """
    grouped: list[list[Manifest]] = [[] for _ in range(WAVES)]
    for manifest in manifests:
        entry = KINDS.get(manifest["kind"])
        if entry is None or entry.wave is None:
            raise ValueError(f"{manifest['kind']} has no place in the waves")
        grouped[entry.wave].append(manifest)
    return grouped
