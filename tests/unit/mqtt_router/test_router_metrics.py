"""What alerts rely on: a counter is there before its first event, or that would be no increase."""

from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from mqtt_router.metrics import Metrics, Problem, Resync


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("mqtt_router_errors_total", "what", get_args(Problem)),
        ("mqtt_router_resyncs_total", "reason", get_args(Resync)),
    ],
)
def test_what_has_not_happened_yet_is_counted_as_none(name: str, label: str, values: tuple[str, ...]) -> None:
    registry = CollectorRegistry()
    Metrics(registry)

    assert values
    assert [registry.get_sample_value(name, {label: value}) for value in values] == [0.0] * len(values)
