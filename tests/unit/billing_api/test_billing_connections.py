"""The bound on refused connections that still wait for their client."""

from prometheus_client import CollectorRegistry

from billing_api.http.connections import Connections, Limits
from billing_api.metrics import ConnectionMetrics


class _Member:
    def __init__(self) -> None:
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True

    def check(self, now: float) -> None:
        """Nothing takes time here."""


def test_of_the_refused_no_more_than_64_are_waited_for_and_the_oldest_goes_first() -> None:
    connections = Connections(Limits(connections=1, request_seconds=1), ConnectionMetrics(CollectorRegistry()))
    assert connections.admit(_Member())
    refused = [_Member() for _ in range(66)]
    assert not any(connections.admit(member) for member in refused)
    assert [member.evicted for member in refused] == [True] * 2 + [False] * 64
    connections.forget(refused[2])
    assert not connections.admit(_Member())
    assert not refused[3].evicted
