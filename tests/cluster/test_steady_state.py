"""An instance that is as it shall be costs no write, and few reads."""

from collections import Counter

import pytest

from customer_operator import naming
from tests.support.audit import AuditLog, Request
from tests.support.kubernetes import Kubernetes
from tests.support.operators import Operators
from tests.support.tenants import Tenants

# What a resync may ask of one instance: its credentials, and a list of its Secrets. The watches tell everything else.
READS = 2
ROUNDS = 3
INTERVAL = 2.0  # seconds, of which the operator adds or takes a tenth so that instances do not come all at once
# Exactly one request of a resync in a namespace is this.
SIGN = ("list", "secrets")


@pytest.fixture(scope="module")
def names(operators: Operators, tenants: Tenants) -> list[str]:
    """Instances that have come to rest."""
    operators.usual()
    ordered = [tenants.order(plan=plan) for plan in ("trial", "starter", "professional")]
    return [tenants.ready(name) for name in ordered]


@pytest.fixture(scope="module")
def restarted(operators: Operators, names: list[str], audit: AuditLog) -> AuditLog:
    """The log since a new operator has begun, which resyncs every few seconds; it has done so several times."""
    operators.stop()
    log = audit.from_now_on()
    operators.start("steady", RESYNC_INTERVAL=str(INTERVAL))
    log.wait_until(lambda seen: all(len(resyncs(seen, name)) > ROUNDS for name in names))
    return log


def concerns(request: Request, name: str) -> bool:
    return request.namespace == naming.namespace_of(name) or request.name in (name, naming.namespace_of(name))


def resyncs(requests: list[Request], name: str) -> list[int]:
    """Return where in the log a resync of this instance shows."""
    home = naming.namespace_of(name)
    return [at for at, item in enumerate(requests) if item.namespace == home and (item.verb, item.resource) == SIGN]


def test_neither_a_restart_nor_a_resync_writes_anything(restarted: AuditLog, names: list[str]) -> None:
    requests = restarted.requests()
    assert [item for item in requests if item.writes and any(concerns(item, name) for name in names)] == []
    # Nor anything else, but for the lease and what is still to be done for instances on their way out.
    others = {item.resource for item in requests if item.writes and item.resource != "leases"}
    assert others <= {"customerinstances", "customerinstances/status", "namespaces", "deployments", "statefulsets"}


def test_a_resync_reads_nothing_but_secrets(restarted: AuditLog, names: list[str]) -> None:
    requests = restarted.requests()
    for name in names:
        first, *_, last = resyncs(requests, name)
        seen = [item for item in requests[first:last] if concerns(item, name)]
        reads = Counter((item.verb, item.resource, item.name) for item in seen)
        assert len(reads) <= READS
        rounds = (requests[last].time - requests[first].time).total_seconds() / (INTERVAL * 0.9) + 1
        assert max(reads.values()) <= rounds


def test_what_is_steady_is_not_even_touched(api: Kubernetes, restarted: AuditLog, names: list[str]) -> None:
    before = {name: api.get(naming.KIND, name)["metadata"]["resourceVersion"] for name in names}
    marks = {name: len(resyncs(restarted.requests(), name)) for name in names}
    restarted.wait_until(lambda seen: all(len(resyncs(seen, name)) > marks[name] for name in names))
    assert {name: api.get(naming.KIND, name)["metadata"]["resourceVersion"] for name in names} == before
