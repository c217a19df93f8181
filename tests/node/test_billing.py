"""The platform's own pods after an installation from nothing; the first file of the run, before others kill them."""

import pytest

from customer_operator.naming import Manifest
from tests.support.failures import statuses
from tests.support.platform import Platform


def restarts(pods: list[Manifest]) -> dict[str, int]:
    """How often the containers of each pod have been started again."""
    return {pod["metadata"]["name"]: sum(status["restartCount"] for status in statuses(pod)) for pod in pods}


@pytest.mark.parametrize(("namespace", "pods"), [("billing", 3), ("iotistic-system", 2), ("mqtt-router", 2)])
def test_an_installation_from_nothing_starts_no_pod_twice(platform: Platform, namespace: str, pods: int) -> None:
    """Who needs the database waits for it, instead of failing until it is there."""
    found = restarts(platform.api.items("Pod", namespace=namespace))

    assert len(found) == pods
    assert set(found.values()) == {0}, found
