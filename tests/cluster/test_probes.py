"""What Kubernetes and Prometheus ask of the operator."""

import pytest

from customer_operator.scheduling.queue import Priority
from tests.support.operators import OperatorProcess, Operators
from tests.support.tenants import Tenants


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_an_operator_that_works_says_so(operator: OperatorProcess, path: str) -> None:
    operator.wait_until_up()  # which it may not be yet when it is elected
    answer = operator.ask(path)
    assert (answer.status_code, answer.text) == (200, "ok")


@pytest.fixture(scope="module")
def before(operators: Operators, tenants: Tenants) -> dict[str, float]:
    """The metrics that grow, as they were before an instance became Ready."""
    running = operators.usual()
    values = {name: running.metric(name, **labels) for name, labels in GROWING.items()}
    tenants.ready(plan="starter")
    return values


GROWING = {
    "customer_operator_reconcile_seconds_count": {"outcome": "ready"},
    "customer_operator_queue_wait_seconds_count": {"priority": "starter"},
    "customer_operator_api_requests_total": {"verb": "PATCH", "code": "200"},
    "customer_operator_time_to_ready_seconds_count": {"plan": "starter"},
}


@pytest.mark.parametrize("name", GROWING)
def test_the_metrics_tell_what_the_operator_has_done(
    operator: OperatorProcess, before: dict[str, float], name: str
) -> None:
    assert operator.metric(name, **GROWING[name]) > before[name]


@pytest.mark.usefixtures("before")
def test_the_metrics_tell_how_long_a_customer_waited(operator: OperatorProcess) -> None:
    count = operator.metric("customer_operator_time_to_ready_seconds_count", plan="starter")
    assert 0 < operator.metric("customer_operator_time_to_ready_seconds_sum", plan="starter") / count < 120


@pytest.mark.usefixtures("before")
def test_the_metrics_tell_how_much_is_waiting(operator: OperatorProcess) -> None:
    text = operator.ask("/metrics").text
    for priority in Priority:
        assert f'customer_operator_queue_depth{{priority="{priority.label}"}} ' in text
    for gauge in ("queue_in_flight", "queue_oldest_wait_seconds"):
        assert f"\ncustomer_operator_{gauge} " in text
    assert operator.metric("customer_operator_queue_delayed") > 0  # the next resync of each instance
    assert operator.metric("process_resident_memory_bytes") > 0
