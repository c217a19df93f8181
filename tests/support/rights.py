"""What somebody may or may not do, as rows of a table, and the objects to try it with."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from tests.support.kubernetes import Kubernetes, Refused

Act = Callable[[Kubernetes], object]
# By the name of the row; the text is a regular expression that the message must match.
Forbidden = Mapping[str, tuple[Act, str]]
Allowed = Mapping[str, Act]

LEVELS = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
CLEAN = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
# Every request that nothing refuses leaves things as they were.
DRY = {"dryRun": "All"}


def assert_refused(access: Kubernetes, act: Act, message: str) -> None:
    """Check that an act is refused with this message, by a role or a policy and not for being malformed."""
    with pytest.raises(Refused, match=message) as refused:
        act(access)
    by_policy = "ValidatingAdmissionPolicy" in str(refused.value)
    assert refused.value.status in ((403, 422) if by_policy else (403,))


def thing(
    kind: str, name: str = "probe", *, namespace: str | None = None, version: str = "v1", **rest: Any
) -> Manifest:
    """Return an object of next to nothing."""
    home = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **home}, **rest}


def account(name: str = naming.OPERATOR_SERVICE_ACCOUNT, namespace: str = naming.OPERATOR_NAMESPACE) -> Manifest:
    """Return a ServiceAccount, the operator's unless told otherwise, as the subject of a binding."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def binding(
    kind: str = "RoleBinding",
    *,
    name: str = naming.TENANT_ROLE,
    role: str = naming.TENANT_ROLE,
    role_kind: str = "ClusterRole",
    subjects: list[Manifest] | None = None,
    namespace: str | None = None,
) -> Manifest:
    """Return the operator's binding of itself, or one that differs from it."""
    return thing(
        kind,
        name,
        namespace=namespace,
        version="rbac.authorization.k8s.io/v1",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        subjects=[account()] if subjects is None else subjects,
    )


def customers_namespace(
    instance: str, *, labels: Mapping[str, str | None] | None = None, owners: list[Manifest] | None = None
) -> Manifest:
    """Return an instance's namespace as the operator writes it, with other labels (None for none) and owners."""
    marks = {naming.INSTANCE_LABEL: instance, naming.CUSTOMER_LABEL: f"cust-{instance}", **LEVELS, **(labels or {})}
    manifest = thing("Namespace", naming.namespace_of(instance))
    manifest["metadata"]["labels"] = {key: value for key, value in marks.items() if value is not None}
    if owners is not None:
        manifest["metadata"]["ownerReferences"] = owners
    return manifest


def owner(name: str, **rest: Any) -> Manifest:
    """Return an instance as an owner, or an owner that differs from it."""
    return {**naming.owner_reference(name, "0b9e6f0e-0000-4000-8000-000000000000"), **rest}


def workload(
    name: str = "api", *, kind: str = "Deployment", namespace: str, container: Manifest | None = None, **pod: Any
) -> Manifest:
    """Return a workload without a replica that Pod Security admits, but for what is told of its container and pod."""
    labels = {"app.kubernetes.io/instance": "probe"}
    main = {"name": "main", "image": "example.com/main:1", "securityContext": CLEAN, **(container or {})}
    template = {
        "metadata": {"labels": labels},
        "spec": {"serviceAccountName": name, "containers": [main], **pod},
    }
    spec: Manifest = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return thing(kind, name, namespace=namespace, version="apps/v1", spec=spec)


def service(name: str = "api", *, namespace: str, **spec: Any) -> Manifest:
    """Return a Service of one port."""
    return thing("Service", name, namespace=namespace, spec={"ports": [{"port": 80}], **spec})


def standing_rights(access: Kubernetes, *, namespace: str = "default") -> set[tuple[str, str]]:
    """Return (resource, verb) of all rights in a namespace, `default` being nobody's, but for asking about oneself."""
    review = thing("SelfSubjectRulesReview", version="authorization.k8s.io/v1", spec={"namespace": namespace})
    rules = access.create(review)["status"]["resourceRules"]
    about_oneself = {"authorization.k8s.io", "authentication.k8s.io"}
    return {
        (resource, verb)
        for rule in rules
        if not about_oneself & set(rule["apiGroups"])
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
