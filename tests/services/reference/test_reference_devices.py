"""Devices through the reference API: what is in the broker's tables, what is refused, and why."""

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bcrypt
import pytest

from tests.services.reference.conftest import Database, MakeApi, waiting_for_locks
from tests.support.reference import OpenBroker, ReferenceApi
from tests.support.tenant_database import TenantDatabase
from tests.support.waiting import eventually


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:iotistic:problem:")


def users(database: Database) -> list[str]:
    return [name for (name,) in database.execute("SELECT username FROM mqtt.mqtt_users ORDER BY username")]


def test_a_registered_device_is_one_that_the_broker_lets_in(
    reference_api: ReferenceApi, shared_database: Database
) -> None:
    answer = reference_api.call("POST", "/api/devices", json={"name": "greenhouse-1"})

    assert answer.status_code == 201
    body = answer.json()
    assert (body["username"], body["topics"]) == ("greenhouse-1", "t/greenhouse-1/#")
    user = shared_database.execute(
        "SELECT password_hash, is_superuser, is_active FROM mqtt.mqtt_users WHERE username = 'greenhouse-1'"
    ).fetchone()
    assert user is not None
    assert user[0].startswith("$2b$10$")
    assert bcrypt.checkpw(body["password"].encode(), user[0].encode())
    assert user[1:] == (False, True)
    acls = shared_database.execute(
        "SELECT topic, access FROM mqtt.mqtt_acls WHERE username = 'greenhouse-1'"
    ).fetchall()
    assert acls == [("t/%u/#", 7)]


def test_the_password_is_told_once_and_kept_nowhere(reference_api: ReferenceApi, shared_database: Database) -> None:
    password = reference_api.register("meter")

    assert password not in reference_api.call("GET", "/api/devices").text
    assert password not in reference_api.server.log
    assert reference_api.token not in reference_api.server.log


def test_devices_are_listed_by_name_page_by_page(reference_api: ReferenceApi) -> None:
    for name in ("c", "a", "b"):
        reference_api.register(name)

    pages = [
        [
            device["name"]
            for device in reference_api.call("GET", f"/api/devices?limit=2&after={after}").json()["devices"]
        ]
        for after in ("", "b")
    ]

    assert pages == [["a", "b"], ["c"]]


def test_a_deleted_device_is_gone_from_the_broker_and_its_name_is_free(
    reference_api: ReferenceApi, shared_database: Database
) -> None:
    reference_api.register("meter")

    assert reference_api.call("DELETE", "/api/devices/meter").status_code == 204

    assert users(shared_database) == ["api", "exporter"]
    assert problem(reference_api.call("GET", "/api/devices/meter/readings")) == (404, "device")
    reference_api.register("meter")


def test_a_device_is_shut_out_whatever_holds_up_the_deletion_of_its_readings(
    reference_api: ReferenceApi, shared_database: Database, shared_server: TenantDatabase
) -> None:
    reference_api.register("meter")
    shared_database.execute("INSERT INTO public.readings VALUES ('meter', 'a', now(), 1)")

    with shared_server.superuser() as locker, locker.transaction():
        locker.execute("SELECT FROM public.readings FOR UPDATE")
        assert problem(reference_api.call("DELETE", "/api/devices/meter")) == (503, "database")

    assert users(shared_database) == ["api", "exporter"]
    assert reference_api.call("DELETE", "/api/devices/meter").status_code == 204
    assert problem(reference_api.call("GET", "/api/devices/meter/readings")) == (404, "device")


def test_more_readings_than_one_statement_takes_go_with_their_device(
    reference_api: ReferenceApi, shared_database: Database
) -> None:
    for name in ("meter", "other"):
        reference_api.register(name)
        shared_database.execute(
            "INSERT INTO public.readings SELECT %s, 'a', now() - i * interval '1 second', 1"
            " FROM generate_series(1, 10001) i",
            [name],
        )

    assert reference_api.call("DELETE", "/api/devices/meter").status_code == 204

    left = shared_database.execute("SELECT device, count(*) FROM public.readings GROUP BY device").fetchall()
    assert left == [("other", 10001)]


def test_a_device_that_sends_ever_new_names_fills_no_page(
    reference_api: ReferenceApi, shared_database: Database
) -> None:
    for name in ("meter", "other"):
        reference_api.register(name)
    shared_database.execute(
        "INSERT INTO public.latest_readings SELECT 'meter', lpad(i::text, 5, '0'), now(), i"
        " FROM generate_series(1, 10000) i"
    )
    shared_database.execute("INSERT INTO public.latest_readings VALUES ('other', 'a', now(), 1)")

    devices = reference_api.call("GET", "/api/devices").json()["devices"]

    assert [reading["value"] for reading in devices[0]["latest"]] == list(range(1, 21))
    assert [reading["name"] for reading in devices[1]["latest"]] == ["a"]


@pytest.mark.parametrize("name", ["api", "exporter"])
def test_the_brokers_own_users_are_no_devices(
    reference_api: ReferenceApi, shared_database: Database, name: str
) -> None:
    assert problem(reference_api.call("POST", "/api/devices", json={"name": name})) == (409, "device-exists")
    assert problem(reference_api.call("DELETE", f"/api/devices/{name}")) == (404, "device")
    assert users(shared_database) == ["api", "exporter"]


def test_a_name_that_is_anothers_beginning_is_refused_and_the_other_is_named(reference_api: ReferenceApi) -> None:
    reference_api.register("sensor")

    answer = reference_api.call("POST", "/api/devices", json={"name": "sensor-2"})

    assert problem(answer) == (409, "device-name")
    assert "'sensor'" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a+b", "#", "a b", "ä", "a\0", "x" * 65, None, 7])
def test_a_name_that_would_need_escaping_is_refused(reference_api: ReferenceApi, name: object) -> None:
    assert problem(reference_api.call("POST", "/api/devices", json={"name": name})) == (400, "device-name")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/devices?after=%00", (400, "device-name")),
        ("GET", "/api/devices?limit=0", (400, "limit")),
        ("GET", "/api/devices?limit=201", (400, "limit")),
        ("GET", "/api/devices?limit=x", (400, "limit")),
        ("GET", "/api/devices/%00/readings", (400, "device-name")),
        ("GET", "/api/devices/x/readings", (404, "device")),
        ("GET", "/api/devices/x/readings?before=yesterday", (400, "before")),
        ("GET", "/api/devices/x/readings?before=2026-11-27T09:00:00", (400, "before")),
        ("DELETE", "/api/devices/%00", (400, "device-name")),
        ("DELETE", "/api/devices", (405, "path")),
        ("GET", "/api/nowhere", (404, "path")),
    ],
)
def test_what_cannot_be_read_or_is_not_there_is_told(
    reference_api: ReferenceApi, method: str, path: str, expected: tuple[int, str]
) -> None:
    answer = reference_api.call(method, path)

    assert problem(answer) == expected
    assert answer.json()["status"] == expected[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"{", (400, "body")), (b"[]", (400, "body")), (b"[" * 4000, (400, "body")), (b" " * 5000, (413, "body"))],
    ids=["no JSON", "no object", "deep", "long"],
)
def test_a_body_that_is_none_is_refused(reference_api: ReferenceApi, content: bytes, expected: tuple[int, str]) -> None:
    assert problem(reference_api.call("POST", "/api/devices", content=content)) == expected


def test_the_license_limits_the_devices_and_the_refusal_says_so(
    make_api: MakeApi, broker: OpenBroker, own_database: Database
) -> None:
    api = make_api(broker, features={"maxDevices": 1})
    api.start()
    api.register("first")

    answer = api.call("POST", "/api/devices", json={"name": "second"})

    assert problem(answer) == (403, "device-limit")
    assert answer.json()["detail"] == "The license allows 1 devices (maxDevices)"
    assert users(own_database) == ["api", "exporter", "first"]


async def test_of_registrations_at_once_no_more_succeed_than_there_are_places(
    make_api: MakeApi, broker: OpenBroker, own_database: Database, own_server: TenantDatabase
) -> None:
    api = make_api(broker, features={"maxDevices": 2})
    api.start()
    api.register("first")

    def register(name: str) -> int:
        return api.call("POST", "/api/devices", json={"name": name}).status_code

    with ThreadPoolExecutor(3) as threads:
        # All of them have looked how many there are, or wait to look, before one of them can go on.
        with own_server.superuser() as locker, locker.transaction():
            locker.execute("LOCK TABLE mqtt.mqtt_users IN SHARE MODE")
            answers = [threads.submit(register, name) for name in ("a", "b", "c")]
            await eventually(lambda: waiting_for_locks(own_database) == 3)

        assert sorted(answer.result() for answer in answers) == [201, 403, 403]
    assert len(users(own_database)) == 4


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/instance"),
        ("GET", "/api/devices"),
        ("POST", "/api/devices"),
        ("DELETE", "/api/devices/x"),
        ("GET", "/api/devices/x/readings"),
        ("GET", "/api/unknown"),
    ],
)
def test_nothing_is_told_to_who_does_not_know_the_token(reference_api: ReferenceApi, method: str, path: str) -> None:
    wrong = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {reference_api.token}"}]

    answers = [reference_api.request(method, path, headers=headers) for headers in wrong]

    assert [problem(answer) for answer in answers] == [(401, "access-token")] * 3


def test_who_is_refused_is_not_listened_to_any_longer(reference_api: ReferenceApi) -> None:
    """A body that comes byte by byte would keep the connection for ever, and there are only so many."""
    with socket.create_connection(("127.0.0.1", reference_api.port), timeout=30) as connection:
        connection.sendall(b"POST /api/devices HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

        answer = b"".join(iter(lambda: connection.recv(65536), b""))  # to the end of the connection

    assert answer.startswith(b"HTTP/1.1 401")
    assert b"\r\nconnection: close\r\n" in answer


def test_a_device_is_registered_only_when_its_readings_would_arrive(make_api: MakeApi, broker: OpenBroker) -> None:
    """Without a subscription the broker would acknowledge them, and keep them for nobody."""
    broker.stop()
    api = make_api(broker)
    api.launch()
    api.server.wait_for("does not answer")

    answer = api.call("POST", "/api/devices", json={"name": "early"})

    assert problem(answer) == (503, "broker")
    assert api.health == {"status": "ok", "database": "ok", "broker": "away"}


def test_the_days_requests_are_limited_by_the_license(make_api: MakeApi, broker: OpenBroker) -> None:
    api = make_api(broker, limits={"apiRequestsPerDay": 2})
    api.start()

    answers = [api.call("GET", "/api/instance") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 0 < int(answers[2].headers["Retry-After"]) <= 86_401
    assert api.health["status"] == "ok"


def test_an_instance_without_a_license_has_what_the_operator_says(
    make_api: MakeApi, broker: OpenBroker, reference_api: ReferenceApi
) -> None:
    api = make_api(broker)
    for name in ("IOTISTIC_LICENSE_KEY", "IOTISTIC_LICENSE_JWKS"):
        del api.environment[name]
    api.environment["IOTISTIC_FEATURES"] = '{"maxDevices":5}'
    api.start()

    instance = api.call("GET", "/api/instance").json()

    assert (instance["licensed"], instance["plan"], instance["maxDevices"]) == (False, "starter", 5)
    assert reference_api.call("GET", "/api/instance").json()["licensed"] is True


def test_metrics_tell_of_requests_by_endpoint_and_of_devices(reference_api: ReferenceApi) -> None:
    registered = 'api_requests_total{endpoint="register_device",method="POST",status="201"}'
    nowhere = 'api_requests_total{endpoint="none",method="GET",status="404"}'
    before = [reference_api.metric(line) for line in (registered, nowhere)]

    reference_api.register("meter")
    for path in ("/api/nowhere", "/api/devices/no/such/place"):
        assert reference_api.call("GET", path).status_code == 404

    after = [reference_api.metric(line) for line in (registered, nowhere)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 2]
    assert reference_api.metric("api_devices") == 1
    assert reference_api.metric("api_broker_subscribed") == 1
