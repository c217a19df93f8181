"""How the reference API begins and ends: what it refuses to start with, and that it stops when it is told to."""

import signal
import subprocess
import sys

import pytest

from tests.services.conftest import Tenant
from tests.services.reference.conftest import MakeApi
from tests.support.reference import OpenBroker, ReferenceApi
from tests.support.servers import PATIENCE
from tests.support.tenant_database import TenantDatabase
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "customer-instance:other"}, "InvalidAudienceError"),
        ({"iss": "https://billing.example.net"}, "InvalidIssuerError"),
    ],
    ids=["another instance's", "another issuer's"],
)
def test_a_license_that_is_not_this_instances_ends_the_start(
    make_api: MakeApi, broker: OpenBroker, claims: dict[str, str], reason: str
) -> None:
    api = make_api(broker, **claims)

    api.launch()

    assert api.server.wait() == 78
    assert api.server.log == f"reference-api cannot start: the license cannot be trusted: {reason}\n"


def test_the_operators_own_license_is_this_instances(tenant: Tenant, reference_api: ReferenceApi) -> None:
    """What the operator hands on beside the license is what the license was issued for."""
    given = reference_api.environment

    assert given["IOTISTIC_LICENSE_AUDIENCE"] == f"customer-instance:{tenant.context.name}"
    assert given["IOTISTIC_LICENSE_ISSUER"] == tenant.context.platform.license_issuer
    assert reference_api.call("GET", "/api/instance").json()["licensed"] is True


def test_who_may_start_programs_in_the_container_can_print_the_token(reference_api: ReferenceApi) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reference_api", "access-token"],
        env=reference_api.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )

    assert done.stdout == f"{reference_api.token}\n"


async def test_it_waits_for_a_database_that_comes_later(
    make_api: MakeApi, broker: OpenBroker, own_server: TenantDatabase
) -> None:
    api = make_api(broker)
    own_server.stop()
    try:
        api.listen()
        api.server.wait_for("the database is not ready")
        assert api.request("GET", "/api/health").status_code == 503
        assert api.call("GET", "/api/devices").status_code == 503
    finally:
        own_server.start()

    await eventually(lambda: api.request("GET", "/api/health").status_code == 200)
    api.stop()


def test_it_stops_when_it_is_told_to_while_it_waits(
    make_api: MakeApi, broker: OpenBroker, own_server: TenantDatabase
) -> None:
    api = make_api(broker)
    own_server.stop()
    try:
        api.listen()
        api.server.wait_for("the database is not ready")
        api.stop()
    finally:
        own_server.start()


async def test_requests_are_still_served_for_a_moment_after_it_was_told_to_stop(
    make_api: MakeApi, broker: OpenBroker
) -> None:
    """The Ingress controller hears of a pod's end a little later than the pod; the broker has been left by then."""
    api = make_api(broker)
    api.environment["STOP_DELAY"] = "20"
    api.start()

    api.server.send_signal(signal.SIGTERM)

    await eventually(lambda: api.health["broker"] == "away")
    assert api.health["status"] == "ok"
    assert api.call("GET", "/api/devices").status_code == 200
