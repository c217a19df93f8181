"""Which class of the queue an instance gets, by what is known of it."""

from typing import Any

import pytest

from customer_operator.naming import Manifest
from customer_operator.queue import Urgency
from customer_operator.worker import plan_urgency, urgency_of
from tests.support.queues import make_observed


@pytest.mark.parametrize(
    ("changes", "urgency"),
    [
        ({}, Urgency.RESYNC),
        ({"phase": "Suspended"}, Urgency.RESYNC),
        ({"generation": 2}, Urgency.STARTER),
        ({"phase": "Degraded"}, Urgency.STARTER),
        ({"phase": "Failed", "plan": "enterprise"}, Urgency.ENTERPRISE),
        ({"deleted": True}, Urgency.DELETE),
        ({"deleted": True, "plan": "enterprise"}, Urgency.DELETE),
    ],
)
def test_deletion_comes_first_then_the_plan_and_what_is_steady_last(changes: dict[str, Any], urgency: Urgency) -> None:
    assert urgency_of(make_observed(**changes)) is urgency


@pytest.mark.parametrize(
    ("manifest", "urgency"),
    [
        (make_observed(plan="professional"), Urgency.PROFESSIONAL),
        ({"metadata": {}, "spec": {"plan": "enterprise"}}, Urgency.ENTERPRISE),
        ({"metadata": {}, "spec": {}}, Urgency.TRIAL),
        ({"metadata": {}}, Urgency.TRIAL),
        ({"metadata": {}, "spec": {"plan": "gold"}}, Urgency.TRIAL),
        (make_observed(deleted=True), Urgency.DELETE),
    ],
)
def test_the_plan_in_force_counts_or_else_the_one_asked_for(manifest: Manifest, urgency: Urgency) -> None:
    assert plan_urgency(manifest) is urgency
