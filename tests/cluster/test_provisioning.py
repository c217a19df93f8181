"""An order becomes a stack: Ready by itself, complete, and with nothing refused on the way."""

from dataclasses import dataclass
from datetime import datetime

import pytest
import yaml

from customer_operator import naming
from customer_operator.model.instance import Plan
from customer_operator.model.quantity import parse as quantity
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from tests.support.audit import AuditLog
from tests.support.kubernetes import Kubernetes, condition_of, is_ready
from tests.support.operators import Operators
from tests.support.tenants import Tenants

# What a stack consists of on a platform without a domain: kind, and the names of its objects by component.
STACK: dict[str, dict[str, set[str]]] = {
    "guardrails": {"ResourceQuota": {"quota"}, "LimitRange": {"defaults"}},
    "network": {"NetworkPolicy": {"default-deny", "postgres", "mosquitto", "mqtt-exporter", "api", "dashboard"}},
    "postgres": {
        "StatefulSet": {"postgres"},
        "Service": {"postgres"},
        "Secret": {"postgres"},
        "ServiceAccount": {"postgres"},
    },
    "mosquitto": {
        "StatefulSet": {"mosquitto"},
        "Service": {"mosquitto", "mqtt"},
        "Secret": {"mosquitto", "mosquitto-tls"},
        "ServiceAccount": {"mosquitto"},
    },
    "mqtt-exporter": {
        "Deployment": {"mqtt-exporter"},
        "Service": {"mqtt-exporter"},
        "Secret": {"mqtt-exporter"},
        "ServiceAccount": {"mqtt-exporter"},
    },
    "api": {
        "Deployment": {"api"},
        "Service": {"api"},
        "Secret": {"api", "license"},
        "ServiceAccount": {"api"},
    },
    "dashboard": {
        "Deployment": {"dashboard"},
        "Service": {"dashboard"},
        "ServiceAccount": {"dashboard"},
    },
    "credentials": {"Secret": {"credentials"}},
    "tenancy": {"RoleBinding": {naming.TENANT_ROLE}},
}
HIGHLY_AVAILABLE = {"dashboard": {"PodDisruptionBudget": {"dashboard"}}}
KINDS = sorted({kind for kinds in [*STACK.values(), *HIGHLY_AVAILABLE.values()] for kind in kinds})

PODS = {Plan.TRIAL: 5, Plan.STARTER: 5, Plan.PROFESSIONAL: 6, Plan.ENTERPRISE: 6}
COMPONENTS = ["postgres", "mosquitto", "mqtt-exporter", "api", "dashboard"]


@dataclass(frozen=True)
class Stack:
    """A provisioned instance, and every version of the resource from its creation to its first Ready."""

    plan: Plan
    name: str
    versions: list[Manifest]

    @property
    def namespace(self) -> str:
        return naming.namespace_of(self.name)

    @property
    def live(self) -> Manifest:
        return self.versions[-1]

    @property
    def status(self) -> Manifest:
        return dict(self.live["status"])


@pytest.fixture(scope="module")
def stacks(cluster: LocalCluster, api: Kubernetes, operators: Operators, tenants: Tenants) -> dict[Plan, Stack]:
    """One instance per plan, provisioned side by side and awaited as anybody would: by kubectl wait.

    The operator is a new one, which knows no instance yet by whose time it would estimate less than three minutes.
    """
    operators.stop()
    operators.usual()
    since = api.version(naming.KIND)
    names = {plan: tenants.order(plan=plan.value) for plan in Plan}
    cluster.kubectl("wait", "--for=condition=Ready", "customerinstance", *names.values(), "--timeout=90s")
    followed = {plan: api.follow(naming.KIND, name, is_ready, since=since) for plan, name in names.items()}
    return {
        plan: Stack(plan=plan, name=names[plan], versions=[version for version in versions if version])
        for plan, versions in followed.items()
    }


@pytest.fixture(params=list(Plan), ids=str)
def stack(stacks: dict[Plan, Stack], request: pytest.FixtureRequest) -> Stack:
    return stacks[request.param]


def test_the_status_of_a_ready_instance_says_all_there_is_to_know(stack: Stack) -> None:
    status = stack.status
    assert status["phase"] == "Ready"
    assert status["progress"] == 100
    assert status["message"] == "everything is ready"
    assert status["observedGeneration"] == stack.live["metadata"]["generation"]
    assert status["plan"] == stack.plan
    assert status["namespace"] == stack.namespace
    assert status["license"] == {"state": "None"}
    assert status["attempts"] == 0
    assert "nextAttemptAt" not in status
    created = datetime.fromisoformat(stack.live["metadata"]["creationTimestamp"])
    ready = datetime.fromisoformat(condition_of(stack.live, "Ready")["lastTransitionTime"])
    # Both times are cut to whole seconds.
    assert status["timeToReadySeconds"] == pytest.approx((ready - created).total_seconds(), abs=1.1)


def test_the_conditions_are_those_of_kstatus_and_one_per_component(stack: Stack) -> None:
    holding = {item["type"]: item["status"] for item in stack.status["conditions"]}
    assert holding == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "LicenseValid": "True",
        "PostgresReady": "True",
        "MosquittoReady": "True",
        "MqttExporterReady": "True",
        "ApiReady": "True",
        "DashboardReady": "True",
        "RouteReady": "True",
    }


def test_every_stage_is_done_and_says_when(stack: Stack) -> None:
    stages = stack.status["stages"]
    assert [stage["name"] for stage in stages] == ["accept", "namespace", "guardrails", "apply", *COMPONENTS, "route"]
    for stage in stages:
        assert stage["state"] == "Done"
        assert stage["startedAt"] <= stage["finishedAt"]
        assert "message" not in stage


def test_the_urls_lead_to_the_ports_that_kubernetes_allocated(api: Kubernetes, stack: Stack) -> None:
    services = {item["metadata"]["name"]: item for item in api.items("Service", namespace=stack.namespace)}
    allocated = {
        (name, port["name"]): port["nodePort"]
        for name, item in services.items()
        for port in item["spec"]["ports"]
        if "nodePort" in port
    }
    assert stack.status["ports"] == {
        "dashboard": allocated["dashboard", "http"],
        "api": allocated["api", "http"],
        "mqtt": allocated["mqtt", "mqtt"],
        "mqttTls": allocated["mqtt", "mqtts"],
        "mqttWebsocket": allocated["mqtt", "websocket"],
    }
    assert len(allocated) == len(stack.status["ports"])  # nothing else is open to the outside
    assert stack.status["urls"] == {
        "dashboard": f"http://localhost:{allocated['dashboard', 'http']}",
        "api": f"http://localhost:{allocated['api', 'http']}",
        "mqtt": f"mqtt://localhost:{allocated['mqtt', 'mqtt']}",
    }


def test_progress_never_goes_backwards_and_is_told_in_steps(stack: Stack) -> None:
    statuses = [version.get("status") or {} for version in stack.versions]
    progress = [status.get("progress", 0) for status in statuses]
    assert progress == sorted(progress)
    assert len(set(progress)) >= 3
    phases = list(dict.fromkeys(status["phase"] for status in statuses if status))
    assert phases in (["Pending", "Provisioning", "Ready"], ["Provisioning", "Ready"])


def test_a_stage_that_is_done_stays_done(stack: Stack) -> None:
    done: set[str] = set()
    for version in stack.versions:
        stages = (version.get("status") or {}).get("stages", ())
        now = {stage["name"] for stage in stages if stage["state"] == "Done"}
        assert done <= now
        done = now


def test_a_time_is_promised_while_it_is_provisioned_and_not_afterwards(stack: Stack) -> None:
    promised = {version["status"].get("estimatedReadyAt") for version in stack.versions[:-1] if "status" in version}
    assert len(promised) == 1
    assert None not in promised
    assert "estimatedReadyAt" not in stack.status


def test_all_objects_exist_under_the_labels_of_their_component(api: Kubernetes, stack: Stack) -> None:
    expected = {component: dict(kinds) for component, kinds in STACK.items()}
    if PODS[stack.plan] > PODS[Plan.TRIAL]:
        expected["dashboard"] |= HIGHLY_AVAILABLE["dashboard"]
    found: dict[str, dict[str, set[str]]] = {}
    for kind in KINDS:
        for item in api.items(kind, namespace=stack.namespace, labels=f"{naming.INSTANCE_LABEL}={stack.name}"):
            labels = item["metadata"]["labels"]
            assert naming.labels(stack.name, labels[naming.COMPONENT_LABEL]).items() <= labels.items()
            names = found.setdefault(labels[naming.COMPONENT_LABEL], {}).setdefault(kind, set())
            names.add(item["metadata"]["name"])
    assert found == expected


def test_the_namespace_is_owned_by_the_instance_and_restricted(api: Kubernetes, stack: Stack) -> None:
    metadata = api.get("Namespace", stack.namespace)["metadata"]
    assert metadata["ownerReferences"] == [naming.owner_reference(stack.name, stack.live["metadata"]["uid"])]
    assert metadata["labels"][naming.CUSTOMER_LABEL] == stack.live["spec"]["customer"]["id"]
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_kubectl_finds_a_component_by_its_label(cluster: LocalCluster, stack: Stack) -> None:
    found = cluster.kubectl(
        *("get", "all", "-n", stack.namespace, "-l", "app.kubernetes.io/component=postgres", "-o", "name")
    )
    assert found.split() == ["pod/postgres-0", "service/postgres", "statefulset.apps/postgres"]


def test_the_table_of_instances_tells_plan_phase_and_address(cluster: LocalCluster, stack: Stack) -> None:
    row = cluster.kubectl("get", "custi", stack.name, "-o", "wide", "--no-headers").split()
    urls = stack.status["urls"]
    assert row[:5] == [stack.name, stack.plan, "Ready", "100", urls["dashboard"]]
    assert row[6:] == [urls["mqtt"], "everything", "is", "ready"]


def test_all_pods_run_without_a_token_and_all_volumes_are_bound(api: Kubernetes, stack: Stack) -> None:
    pods = api.items("Pod", namespace=stack.namespace)
    assert len(pods) == PODS[stack.plan]
    for pod in pods:
        assert pod["status"]["phase"] == "Running"
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert "projected" not in yaml.safe_dump(pod["spec"].get("volumes"))
    claims = api.items("PersistentVolumeClaim", namespace=stack.namespace)
    bound = {
        item["metadata"]["name"]: (item["status"]["phase"], item["status"]["capacity"]["storage"]) for item in claims
    }
    assert bound == {"data-postgres-0": ("Bound", "10Gi"), "data-mosquitto-0": ("Bound", "1Gi")}


def test_nothing_was_refused_on_the_way(api: Kubernetes, stack: Stack) -> None:
    warnings = [item for item in api.items("Event", namespace=stack.namespace) if item["type"] == "Warning"]
    # A pod whose volume is not bound yet is looked at again; anything else would be a refusal.
    assert {item["reason"] for item in warnings} <= {"FailedScheduling"}
    assert all("unbound immediate PersistentVolumeClaims" in item["message"] for item in warnings)
    sets = api.items("ReplicaSet", namespace=stack.namespace)
    assert len(sets) == len(api.items("Deployment", namespace=stack.namespace))
    assert [condition_of(item, "ReplicaFailure") for item in sets] == [{}] * len(sets)


def test_pod_security_has_nothing_to_warn_of(audit: AuditLog, stack: Stack) -> None:
    written = [item for item in audit.requests() if item.namespace == stack.namespace and item.writes]
    assert {"deployments", "statefulsets"} <= {item.resource for item in written}
    assert [item for item in written if item.violations] == []


def test_the_quota_counts_the_stack_and_is_not_exceeded(api: Kubernetes, stack: Stack) -> None:
    [quota] = api.items("ResourceQuota", namespace=stack.namespace)
    hard, used = quota["status"]["hard"], quota["status"]["used"]
    assert hard == quota["spec"]["hard"]
    assert used["pods"] == str(PODS[stack.plan])
    over = {key: (used[key], limit) for key, limit in hard.items() if quantity(used[key]) > quantity(limit)}
    assert over == {}
    assert quantity(used["requests.memory"]) > 0


def test_the_operator_asked_for_nothing_that_it_may_not_do(audit: AuditLog, stacks: dict[Plan, Stack]) -> None:
    assert audit.overreaches(*(stack.name for stack in stacks.values())) == []
