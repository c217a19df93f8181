"""What an instance asks of the front door: by its status and its Service, and by nothing else."""

from typing import Any

import pytest

from customer_operator.model.hostnames import Claim
from customer_operator.naming import Manifest
from customer_operator.observed.readiness import device_endpoint
from customer_operator.routing.candidates import Candidate, admit, candidate_of
from mqtt_router.routes import Route
from tests.support.generate import make_platform
from tests.support.routes import ADDRESS, broker_service, host_of, routed

ENDPOINT = (ADDRESS, 8883)
PLATFORM = make_platform(reserved_hosts=("platform.example",))


def candidate(host: str, *, address: str = ADDRESS, port: int = 8883) -> Candidate:
    found = candidate_of(routed(), ENDPOINT)
    assert found is not None
    return Candidate(host=host, address=address, port=port, claim=found.claim)


def test_host_and_address_are_those_that_were_told_and_found() -> None:
    found = candidate_of(routed(host="devices.acme.example"), ENDPOINT)

    assert found is not None
    assert (found.host, found.address, found.port) == ("devices.acme.example", ADDRESS, 8883)
    assert isinstance(found.claim, Claim)
    assert found.claim.uid == "uid-of-acme"


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Suspended"},
        {"phase": "Deleting"},
        {"urls": {}},
        {"urls": None},
        {"urls": {"mqtt": "mqtt://localhost:31883"}},
        {"urls": {"mqtt": ""}},
    ],
)
def test_there_is_no_route_where_no_device_could_come(status: dict[str, Any]) -> None:
    assert candidate_of(routed(**status), ENDPOINT) is None


def test_there_is_no_route_before_a_status_has_been_written() -> None:
    body = {key: value for key, value in routed().items() if key != "status"}

    assert candidate_of(body, ENDPOINT) is None


def test_there_is_no_route_of_an_instance_that_is_being_deleted() -> None:
    body = routed()
    body["metadata"]["deletionTimestamp"] = "2026-11-21T14:00:00Z"

    assert candidate_of(body, ENDPOINT) is None


@pytest.mark.parametrize("phase", ["Pending", "Provisioning", "Ready", "Updating", "Degraded", "Failed"])
def test_there_is_a_route_before_everything_is_ready_and_when_something_has_failed(phase: str) -> None:
    assert candidate_of(routed(phase=phase), ENDPOINT) is not None


@pytest.mark.parametrize(
    ("service", "endpoint"),
    [
        (broker_service(), ENDPOINT),
        (broker_service(address="fd00::7"), ("fd00::7", 8883)),
        (broker_service(address=None), None),
        (broker_service(address=""), None),
        (broker_service(address="None"), None),
        (broker_service(kind="NodePort"), None),
        (broker_service(kind="LoadBalancer"), None),
        ({**broker_service(), "kind": "Deployment"}, None),
        ({**broker_service(), "spec": {"type": "ClusterIP", "clusterIP": ADDRESS, "ports": None}}, None),
        ({**broker_service(), "spec": {"type": "ClusterIP", "clusterIP": ADDRESS, "ports": [{"port": 8883}]}}, None),
        ({**broker_service(), "spec": {"type": "ExternalName", "externalName": "x.example"}}, None),
    ],
)
def test_the_front_door_reaches_only_services_that_have_no_door_of_their_own(
    service: Manifest, endpoint: tuple[str, int] | None
) -> None:
    assert device_endpoint(service) == endpoint


def test_an_instance_gets_the_route_of_its_own_host() -> None:
    assert admit("acme", candidate(host_of("acme")), PLATFORM) == Route(host_of("acme"), ADDRESS, 8883)


def test_an_instance_gets_the_route_of_a_host_of_the_customers_own() -> None:
    assert admit("acme", candidate("devices.acme.example"), PLATFORM).host == "devices.acme.example"


@pytest.mark.parametrize(
    "host",
    [
        host_of("victim"),
        "acme.iot.example.com",
        "iot.example.com",
        "billing.platform.example",
        "mqtt.acme.other.iot.example.com",
    ],
)
def test_no_instance_gets_a_host_of_the_platform_or_of_another(host: str) -> None:
    with pytest.raises(ValueError, match="the host is the platform's") as caught:
        admit("acme", candidate(host), PLATFORM)

    assert host not in str(caught.value)


@pytest.mark.parametrize(
    "broken",
    [
        candidate("two\nlines.example"),
        candidate("devices.acme.example 10.0.0.1:1\nvictim.example"),
        candidate("Devices.acme.example"),
        candidate(""),
        candidate("*.example"),
        candidate("devices.acme.example", address="10.96.0.7; quit"),
        candidate("devices.acme.example", address="0.0.0.0"),
        candidate("devices.acme.example", port=0),
    ],
)
def test_what_is_no_route_is_refused_without_being_shown(broken: Candidate) -> None:
    with pytest.raises(ValueError) as caught:
        admit("acme", broken, PLATFORM)

    assert "\n" not in str(caught.value)
    assert "quit" not in str(caught.value)
