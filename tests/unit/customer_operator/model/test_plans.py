"""The quota fits the stack: for every plan, with every override, in the middle of a rollout."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from billing_api.licensing.licenses import ENTITLEMENTS
from customer_operator.components import guardrails, stack
from customer_operator.components.context import Context
from customer_operator.licensing import claims
from customer_operator.model import plans, quantity
from customer_operator.model.instance import Exposure, Plan
from customer_operator.naming import Manifest
from tests.support.generate import make_context, make_instance, make_platform

# cert-manager's solver: the largest amounts of its default flags.
SOLVER = {"requests.cpu": "10m", "requests.memory": "64Mi", "limits.cpu": "100m", "limits.memory": "64Mi"}
COMPUTE = tuple(SOLVER)

OVERRIDES: dict[str, dict[str, Any]] = {
    "none": {},
    "api larger": {"api": {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"cpu": "8", "memory": "16Gi"}}},
    "only a request, above the plan's limit": {"dashboard": {"requests": {"memory": "3Gi"}}},
    "database huge": {"postgres": {"limits": {"cpu": "32", "memory": "128Gi"}}},
    "all at once": {key: {"limits": {"cpu": "2500m", "memory": "3Gi"}} for key in plans.SIZES},
    "all smaller": {key: {"limits": {"cpu": "50m", "memory": "48Mi"}} for key in plans.SIZES},
}


def _context(plan: Plan, overrides: dict[str, Any], **more: Any) -> Context:
    return make_context(make_instance(plan=plan.value, resources=overrides), **more)


def _pods_at_most(context: Context) -> Iterator[dict[str, Any]]:
    """Yield the spec of every pod that may exist at once: all replicas, and one more of what surges."""
    for manifest in stack.objects(context):
        if manifest["kind"] not in ("Deployment", "StatefulSet"):
            continue
        spec = manifest["spec"]
        surge = spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 0)
        for _ in range(spec["replicas"] + surge):
            yield spec["template"]["spec"]


def _amount(pod: dict[str, Any], resource: str) -> Decimal:
    """Return what a pod counts for: its containers together, or its largest init container."""
    section, name = resource.split(".")

    def of(container: dict[str, Any]) -> Decimal:
        return quantity.parse(container["resources"][section][name])

    return max(sum(map(of, pod["containers"]), Decimal(0)), *map(of, pod.get("initContainers", [])), Decimal(0))


def _hard(context: Context) -> dict[str, Decimal]:
    return {key: quantity.parse(value) for key, value in plans.quota(context.plan, context.instance).items()}


@pytest.mark.parametrize("overrides", OVERRIDES.values(), ids=OVERRIDES)
@pytest.mark.parametrize("plan", Plan)
def test_the_quota_holds_the_whole_stack_with_its_rollout_and_a_certificate(
    plan: Plan, overrides: dict[str, Any]
) -> None:
    context = _context(plan, overrides)
    pods, hard = list(_pods_at_most(context)), _hard(context)

    for resource in COMPUTE:
        needed = sum((_amount(pod, resource) for pod in pods), quantity.parse(SOLVER[resource]))
        assert hard[resource] >= needed, resource
    assert hard["pods"] > len(pods)


@pytest.mark.parametrize("overrides", OVERRIDES.values(), ids=OVERRIDES)
@pytest.mark.parametrize("plan", Plan)
def test_the_quota_has_room_for_the_components_still_to_come(plan: Plan, overrides: dict[str, Any]) -> None:
    """OpenCost for all, Prometheus and Grafana for Enterprise: every size of the plan's row, twice what surges."""
    context = _context(plan, overrides)
    effective = [plans.resources(key, context.instance.resources) for key in plans.PLANS[plan].components]
    surging = [plans.resources(key, context.instance.resources) for key in ("api", "dashboard", "openCost")]

    total = sum((quantity.parse(item.memory_limit) for item in effective + surging), Decimal(0))

    assert _hard(context)["limits.memory"] >= total


@pytest.mark.parametrize("local", [True, False], ids=["local", "production"])
@pytest.mark.parametrize("exposure", [Exposure.SNI, Exposure.NODE_PORT, Exposure.LOAD_BALANCER])
@pytest.mark.parametrize("plan", Plan)
def test_the_quota_holds_services_node_ports_volumes_and_storage(plan: Plan, exposure: Exposure, local: bool) -> None:
    platform = make_platform(base_domain="localhost") if local else make_platform()
    context = make_context(make_instance(plan=plan.value, mqtt={"exposure": exposure.value}), platform=platform)
    manifests, hard = stack.objects(context), _hard(context)
    services = [item for item in manifests if item["kind"] == "Service"]
    exposed = [item for item in services if item["spec"]["type"] != "ClusterIP"]
    claims = [claim for item in manifests for claim in item.get("spec", {}).get("volumeClaimTemplates", ())]

    assert hard["services"] > len(services)
    assert hard["services.nodeports"] > sum(len(item["spec"]["ports"]) for item in exposed)
    assert hard["services.loadbalancers"] >= sum(item["spec"]["type"] == "LoadBalancer" for item in services)
    assert hard["persistentvolumeclaims"] >= len(claims)
    assert hard["requests.storage"] >= sum(
        quantity.parse(claim["spec"]["resources"]["requests"]["storage"]) for claim in claims
    )


def test_what_is_counted_before_the_quota_can_grow_is_the_same_for_all_plans() -> None:
    instance = make_instance()
    fixed = [
        {key: value for key, value in plans.quota(plan, instance).items() if key.startswith("services")}
        for plan in Plan
    ]

    assert all(one == other for one, other in pairwise(fixed))


def test_the_documents_quota_is_granted_to_a_plain_starter() -> None:
    hard = plans.quota(Plan.STARTER, make_instance())

    assert (hard["limits.cpu"], hard["limits.memory"], hard["persistentvolumeclaims"]) == ("4", "4Gi", "5")


def test_a_larger_component_makes_the_quota_grow() -> None:
    small, large = make_instance(), make_instance(resources={"api": {"limits": {"memory": "16Gi"}}})

    grown = [plans.quota(Plan.STARTER, instance)["limits.memory"] for instance in (small, large)]

    assert quantity.parse(grown[1]) - quantity.parse(grown[0]) > quantity.parse("16Gi")


def test_a_larger_volume_makes_the_storage_quota_grow() -> None:
    instance = make_instance(storage={"postgres": {"size": "200Gi"}})

    assert plans.quota(Plan.STARTER, instance)["requests.storage"] == "201Gi"


@pytest.mark.parametrize(
    ("override", "memory", "memory_limit"),
    [
        ({}, "256Mi", "512Mi"),
        ({"requests": {"memory": "300Mi"}}, "300Mi", "512Mi"),
        ({"requests": {"memory": "2Gi"}}, "2Gi", "2Gi"),
        ({"limits": {"memory": "2Gi"}}, "256Mi", "2Gi"),
        ({"limits": {"memory": "128Mi"}}, "128Mi", "128Mi"),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "4Gi"}}, "1Gi", "4Gi"),
    ],
)
def test_a_value_left_out_keeps_the_plans_as_far_as_the_other_allows(
    override: dict[str, Any], memory: str, memory_limit: str
) -> None:
    instance = make_instance(resources={"api": override})

    resources = plans.resources("api", instance.resources)

    assert (resources.memory, resources.memory_limit) == (memory, memory_limit)
    assert (resources.cpu, resources.cpu_limit) == ("250m", "500m")


@pytest.mark.parametrize("key", plans.SIZES)
def test_every_component_requests_no_more_than_its_limit(key: str) -> None:
    size = plans.SIZES[key]

    assert quantity.parse(size.cpu) <= quantity.parse(size.cpu_limit)
    assert quantity.parse(size.memory) <= quantity.parse(size.memory_limit)


def test_only_enterprise_has_monitoring_of_its_own() -> None:
    assert {plan for plan, row in plans.PLANS.items() if "prometheus" in row.components} == {Plan.ENTERPRISE}


@pytest.mark.parametrize("plan", Plan)
def test_a_plan_grants_the_same_with_a_license_as_without(plan: Plan) -> None:
    """The halves share no code, so each has its own table."""
    licensed, row = ENTITLEMENTS[plan], plans.PLANS[plan]

    assert (row.features, row.limits) == (licensed.features, licensed.limits)


@pytest.mark.parametrize("plan", Plan)
def test_what_a_plan_grants_could_be_a_license_s_claims(plan: Plan) -> None:
    row = plans.PLANS[plan]

    assert claims.features(dict(row.features)) == row.features
    assert claims.limits(dict(row.limits)) == row.limits


def _quota(**hard: str) -> Manifest:
    return {"kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": hard}}


def test_a_quota_never_shrinks_under_workloads_that_still_change() -> None:
    in_force = {"limits.memory": "8Gi", "limits.cpu": "500m", "pods": "15", "old": "1"}
    desired = _quota(**{"limits.memory": "4096Mi", "limits.cpu": "4", "pods": "20", "services": "12"})

    kept = guardrails.never_shrink(desired, in_force)

    assert kept["spec"]["hard"] == {"limits.memory": "8Gi", "limits.cpu": "4", "pods": "20", "services": "12"}
    assert desired["spec"]["hard"]["limits.memory"] == "4096Mi"
    assert guardrails.never_shrink(desired, desired["spec"]["hard"]) == desired
