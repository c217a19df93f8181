"""Which class of the queue an instance gets, by what is known of it."""

from typing import Any

import pytest

from customer_operator.naming import Manifest
from customer_operator.scheduling.queue import Priority
from customer_operator.scheduling.workers import plan_priority, priority_of
from tests.support.queues import make_body


@pytest.mark.parametrize(
    ("changes", "priority"),
    [
        ({}, Priority.RESYNC),
        ({"phase": "Suspended"}, Priority.RESYNC),
        ({"generation": 2}, Priority.STARTER),
        ({"phase": "Degraded"}, Priority.STARTER),
        ({"phase": "Failed", "plan": "enterprise"}, Priority.ENTERPRISE),
        ({"deleted": True}, Priority.DELETE),
        ({"deleted": True, "plan": "enterprise"}, Priority.DELETE),
    ],
)
def test_deletion_comes_first_then_the_plan_and_what_is_steady_last(
    changes: dict[str, Any], priority: Priority
) -> None:
    assert priority_of(make_body(**changes)) is priority


@pytest.mark.parametrize(
    ("manifest", "priority"),
    [
        (make_body(plan="professional"), Priority.PROFESSIONAL),
        ({"metadata": {}, "spec": {"plan": "enterprise"}}, Priority.ENTERPRISE),
        ({"metadata": {}, "spec": {}}, Priority.TRIAL),
        ({"metadata": {}}, Priority.TRIAL),
        ({"metadata": {}, "spec": {"plan": "gold"}}, Priority.TRIAL),
        (make_body(deleted=True), Priority.DELETE),
    ],
)
def test_the_plan_in_force_counts_or_else_the_one_asked_for(manifest: Manifest, priority: Priority) -> None:
    assert plan_priority(manifest) is priority
