"""What Kubernetes and Prometheus ask of the operator."""

import pytest

from customer_operator.queue import Urgency
from tests.support.operators import OperatorProcess
from tests.support.tenants import Tenants


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_an_operator_that_works_says_so(operator: OperatorProcess, path: str) -> None:
    answer = operator.ask(path)
    assert (answer.status_code, answer.text) == (200, "ok")


def test_the_metrics_tell_what_the_operator_has_done(operator: OperatorProcess, tenants: Tenants) -> None:
    before = {name: operator.metric(name, **labels) for name, labels in GROWING.items()}
    tenants.ready(plan="starter")
    for name, labels in GROWING.items():
        assert operator.metric(name, **labels) > before[name]
    seconds = operator.metric("customer_operator_time_to_ready_seconds_sum", plan="starter")
    assert 0 < seconds < 120


GROWING = {
    "customer_operator_reconcile_seconds_count": {"outcome": "ready"},
    "customer_operator_queue_wait_seconds_count": {"urgency": "starter"},
    "customer_operator_api_requests_total": {"verb": "PATCH", "code": "200"},
    "customer_operator_time_to_ready_seconds_count": {"plan": "starter"},
}


def test_the_metrics_tell_how_much_is_waiting(operator: OperatorProcess, tenants: Tenants) -> None:
    tenants.ready()
    text = operator.ask("/metrics").text
    for urgency in Urgency:
        assert f'customer_operator_queue_depth{{urgency="{urgency.label}"}} ' in text
    for gauge in ("queue_in_work", "queue_oldest_wait_seconds"):
        assert f"\ncustomer_operator_{gauge} " in text
    assert operator.metric("customer_operator_queue_delayed") > 0  # the next resync of each instance
    assert operator.metric("process_resident_memory_bytes") > 0
