"""Readings from the broker to the database: each one that the broker has acknowledged arrives, and arrives once.

Nothing is cut out of the way: real processes are killed, stopped and replaced while messages are under way.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.services.reference.conftest import Database, MakeApi, rows, waiting_for_locks
from tests.support import mqtt_packets
from tests.support.mqtt import MqttClient
from tests.support.network import Link
from tests.support.reference import OpenBroker, ReferenceApi
from tests.support.tenant_database import TenantDatabase
from tests.support.waiting import eventually

STORED, REPEATED = "api_readings_stored_total", "api_readings_repeated_total"
LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)


def timed(value: float, *, seconds: int = 0) -> str:
    """A payload with its own time, a number of seconds after a fixed one."""
    return json.dumps({"value": value, "time": (LONG_AGO + timedelta(seconds=seconds)).isoformat()})


def publish(broker: OpenBroker, *messages: tuple[str, str]) -> None:
    """Publish as a device does; each message has been acknowledged by the broker on return."""
    with MqttClient(broker.port, None) as device:
        for topic, payload in messages:
            assert device.publish(topic, payload) in ("Success", "No matching subscribers")


async def test_a_published_reading_is_one_row_and_is_told(
    reference_api: ReferenceApi, shared_broker: OpenBroker, shared_database: Database
) -> None:
    reference_api.register("meter")

    publish(shared_broker, ("t/meter/temperature", "21.5"), ("t/meter/room/humidity", '{"value": 40}'))

    await eventually(lambda: len(rows(shared_database, "meter")) == 2)
    assert rows(shared_database, "meter") == [("temperature", 21.5), ("room/humidity", 40.0)]
    assert reference_api.readings("meter") == [("room/humidity", 40.0), ("temperature", 21.5)]
    (device,) = reference_api.call("GET", "/api/devices").json()["devices"]
    assert [(reading["name"], reading["value"]) for reading in device["latest"]] == [
        ("room/humidity", 40.0),
        ("temperature", 21.5),
    ]


async def test_a_reading_with_its_time_is_stored_once_however_often_it_comes(
    reference_api: ReferenceApi, shared_broker: OpenBroker, shared_database: Database
) -> None:
    reference_api.register("meter")

    publish(shared_broker, *[("t/meter/x", timed(1))] * 3, ("t/meter/x", timed(2, seconds=1)))

    await eventually(lambda: len(rows(shared_database, "meter")) == 2)
    assert rows(shared_database, "meter") == [("x", 1.0), ("x", 2.0)]


async def test_the_latest_reading_is_the_one_with_the_latest_time_not_the_last_to_come(
    reference_api: ReferenceApi, shared_broker: OpenBroker, shared_database: Database
) -> None:
    reference_api.register("meter")

    publish(shared_broker, ("t/meter/x", timed(2, seconds=9)))
    await eventually(lambda: len(rows(shared_database, "meter")) == 1)
    publish(shared_broker, ("t/meter/x", timed(1)))
    await eventually(lambda: len(rows(shared_database, "meter")) == 2)

    (device,) = reference_api.call("GET", "/api/devices").json()["devices"]
    assert [reading["value"] for reading in device["latest"]] == [2.0]


async def test_what_is_no_reading_does_not_hold_up_what_is_one(
    reference_api: ReferenceApi, shared_broker: OpenBroker, shared_database: Database
) -> None:
    reference_api.register("meter")
    before = reference_api.metric('api_readings_rejected_total{reason="payload"}')

    publish(shared_broker, ("t/meter/x", "garbage"), ("t/meter/x", "[" * 3000), ("t/meter", "1"), ("t/meter/x", "7"))

    await eventually(lambda: rows(shared_database, "meter") == [("x", 7.0)])
    assert reference_api.metric('api_readings_rejected_total{reason="payload"}') == before + 2


async def test_messages_of_any_size_and_number_do_not_fill_the_memory(
    make_api: MakeApi, broker: OpenBroker, own_database: Database, own_server: TenantDatabase
) -> None:
    """At QoS 0 the broker waits for nobody; here it has all of them before the first one is stored."""
    api = make_api(broker)
    api.start()
    api.register("meter")
    with own_server.superuser() as locker, locker.transaction():
        locker.execute("LOCK TABLE public.readings")
        publish(broker, ("t/meter/x", "1"))
        await eventually(lambda: waiting_for_locks(own_database) == 1)
        before = api.most_memory
        with mqtt_packets.connect(broker.port) as device:
            for _ in range(100):
                device.sendall(mqtt_packets.publish(b"t/meter/x", b"x" * 1_900_000))
            device.sendall(b"\xc0\x00")  # a ping: what came before it has been taken when it is answered
            device.settimeout(60)
            while not device.recv(4096).endswith(b"\xd0\x00"):
                pass

    await eventually(lambda: api.metric('api_readings_rejected_total{reason="payload"}') == 100)
    assert api.most_memory - before < 50_000_000


async def test_readings_of_nobody_are_not_stored(
    reference_api: ReferenceApi, shared_broker: OpenBroker, shared_database: Database
) -> None:
    reference_api.register("meter")
    before = reference_api.metric('api_readings_rejected_total{reason="device"}')

    publish(shared_broker, ("t/stranger/x", "1"), ("t/meter/x", "1"))

    await eventually(lambda: len(rows(shared_database, "meter")) == 1)
    await eventually(lambda: reference_api.metric('api_readings_rejected_total{reason="device"}') == before + 1)
    assert rows(shared_database, "stranger") == []


@pytest.mark.parametrize("payload", ["21.5", timed(21.5)], ids=["without a time", "with its time"])
async def test_a_reading_outlives_an_api_killed_between_receiving_and_committing_it(
    make_api: MakeApi, broker: OpenBroker, own_database: Database, own_server: TenantDatabase, payload: str
) -> None:
    api = make_api(broker)
    api.start()
    api.register("meter")
    with own_server.superuser() as locker, locker.transaction():
        locker.execute("LOCK TABLE public.readings")
        publish(broker, ("t/meter/x", payload))
        await eventually(lambda: waiting_for_locks(own_database) == 1)
        api.kill()

    assert rows(own_database, "meter") == []
    api.start()

    await eventually(lambda: rows(own_database, "meter") == [("x", 21.5)])
    await settled(api, broker, own_database)
    assert rows(own_database, "meter") == [("x", 21.5), ("last", 0.0)]


async def test_a_reading_whose_acknowledgement_is_lost_is_not_stored_again(
    make_api: MakeApi, broker: OpenBroker, own_database: Database
) -> None:
    with Link(("127.0.0.1", broker.port)) as link:
        api = make_api(broker)
        api.environment["MQTT_BROKER"] = f"mqtt://127.0.0.1:{link.port}"
        api.start()
        api.register("meter")
        link.lose_what_clients_send()
        publish(broker, ("t/meter/x", timed(21.5)))
        await eventually(lambda: len(rows(own_database, "meter")) == 1)
        api.kill()
    api.environment["MQTT_BROKER"] = f"mqtt://127.0.0.1:{broker.port}"

    api.start()

    await eventually(lambda: api.metric(REPEATED) == 1)
    assert rows(own_database, "meter") == [("x", 21.5)]


async def test_readings_that_come_while_there_is_no_api_wait_for_it(
    make_api: MakeApi, broker: OpenBroker, own_database: Database
) -> None:
    api = make_api(broker)
    api.start()
    api.register("meter")
    api.stop()

    publish(broker, *[("t/meter/x", timed(number, seconds=number)) for number in range(100)])
    assert rows(own_database, "meter") == []
    api.start()

    await eventually(lambda: len(rows(own_database, "meter")) == 100)


async def test_an_update_loses_and_doubles_nothing(
    make_api: MakeApi, broker: OpenBroker, own_database: Database
) -> None:
    """As the Deployment does it: the new one starts, and only then the old one ends."""
    old, new = make_api(broker), make_api(broker)
    old.start()
    old.register("meter")
    with MqttClient(broker.port, None) as device:
        for number in range(300):
            assert device.publish("t/meter/x", timed(number, seconds=number)) == "Success"
            if number == 100:
                new.listen()
                await eventually(lambda: new.health["broker"] == "standby")
            if number == 200:
                old.stop()

    await eventually(lambda: len(rows(own_database, "meter")) == 300)
    assert rows(own_database, "meter") == [("x", float(number)) for number in range(300)]
    assert "the connection to the broker has ended" not in old.server.log
    assert new.metric(STORED) > 0


async def test_readings_wait_for_a_database_that_is_away_and_health_says_so(
    make_api: MakeApi, broker: OpenBroker, own_database: Database, own_server: TenantDatabase
) -> None:
    api = make_api(broker)
    api.start()
    api.register("meter")
    own_server.stop()
    try:
        publish(broker, ("t/meter/x", "1"))
        api.server.wait_for("readings wait: ")
        assert api.request("GET", "/api/health").status_code == 503
        assert api.call("GET", "/api/devices").status_code == 503
    finally:
        own_server.start()

    with own_server.superuser() as connection:
        await eventually(lambda: rows(connection, "meter") == [("x", 1.0)])
    await eventually(lambda: api.request("GET", "/api/health").status_code == 200)
    assert api.readings("meter") == [("x", 1.0)]


async def test_the_broker_comes_back_with_what_it_has_acknowledged(
    make_api: MakeApi, broker: OpenBroker, own_database: Database
) -> None:
    api = make_api(broker)
    api.start()
    api.register("meter")
    api.stop()
    publish(broker, ("t/meter/x", "1"))
    broker.stop()
    api.launch()
    api.server.wait_for("does not answer")

    broker.start()

    await eventually(lambda: rows(own_database, "meter") == [("x", 1.0)])


async def test_the_days_messages_are_limited_by_the_license(
    make_api: MakeApi, broker: OpenBroker, own_database: Database
) -> None:
    api = make_api(broker, limits={"mqttMessagesPerDay": 2})
    api.start()
    api.register("meter")

    publish(broker, *[("t/meter/x", timed(number, seconds=number)) for number in range(5)])

    await eventually(lambda: api.metric('api_readings_rejected_total{reason="limit"}') == 3)
    assert rows(own_database, "meter") == [("x", 0.0), ("x", 1.0)]


async def test_readings_older_than_the_license_keeps_them_go(
    make_api: MakeApi, broker: OpenBroker, own_database: Database
) -> None:
    api = make_api(broker, features={"dataRetentionDays": 30})
    api.start()
    api.register("meter")
    api.stop()
    days_and_values = [(1, 1.0), (29, 2.0), (31, 3.0), (400, 4.0)]
    for days, value in days_and_values:
        own_database.execute(
            "INSERT INTO public.readings VALUES ('meter', 'x', now() - make_interval(days => %s), %s)", [days, value]
        )
    own_database.execute(
        "INSERT INTO public.latest_readings SELECT 'meter', days::text, now() - make_interval(days => days), 0"
        " FROM unnest(ARRAY[1, 29, 31, 400]) days"
    )

    api.start()

    await eventually(lambda: rows(own_database, "meter") == [("x", 2.0), ("x", 1.0)])
    await eventually(lambda: latest(own_database) == ["1", "29"])


def latest(database: Database) -> list[str]:
    """Return the names of the readings that the dashboard shows as a device's latest ones."""
    return [str(name) for (name,) in database.execute("SELECT name FROM public.latest_readings ORDER BY time DESC")]


async def settled(api: ReferenceApi, broker: OpenBroker, database: Database) -> None:
    """Return when all that was on its way before has come: one connection's messages come in order."""
    publish(broker, ("t/meter/last", "0"))
    await eventually(lambda: ("last", 0.0) in rows(database, "meter"))
