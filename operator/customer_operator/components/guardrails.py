"""What bounds a namespace: a quota sized to its stack, and amounts for containers that name none."""

from collections.abc import Mapping

from customer_operator.components import objects
from customer_operator.components.context import Context
from customer_operator.model import plans, quantity
from customer_operator.naming import Manifest

COMPONENT = "guardrails"


def build(context: Context) -> list[Manifest]:
    """Return the ResourceQuota and the LimitRange without which the quota would refuse pods of others."""
    return [_quota(context), _limit_range(context)]


def never_shrink(desired: Manifest, have: Mapping[str, str]) -> Manifest:
    """Return the desired quota with no amount below those that are in force.

    To be applied while workloads are still changing: a smaller quota, with the old and larger pods still counted,
    would refuse the new pods for which the old ones wait. When all have settled, the desired one follows.
    """
    hard = {key: _larger(amount, have.get(key, amount)) for key, amount in desired["spec"]["hard"].items()}
    return {**desired, "spec": {**desired["spec"], "hard": hard}}


def _quota(context: Context) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": objects.metadata(context, COMPONENT, "quota"),
        "spec": {"hard": plans.quota(context.plan, context.instance)},
    }


def _limit_range(context: Context) -> Manifest:
    """All our containers name their amounts; a quota refuses any that does not, such as one for debugging."""
    amounts = plans.PLANS[context.plan].container_default
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": objects.metadata(context, COMPONENT, "defaults"),
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "default": {"cpu": amounts.cpu_limit, "memory": amounts.memory_limit},
                    "defaultRequest": {"cpu": amounts.cpu, "memory": amounts.memory},
                }
            ]
        },
    }


def _larger(one: str, other: str) -> str:
    return one if quantity.parse(one) >= quantity.parse(other) else other
