"""What is kept of a connection, for how long, and how much of it."""

from exporters.mqtt.parser import Ignored
from exporters.mqtt.statistics import MOST_OTHER_TOPICS, Statistics

RECEIVED = "$SYS/broker/messages/received"
CONNECTED = "$SYS/broker/clients/connected"
BRIDGE = "$SYS/broker/connection/bridge/state"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def connected() -> Statistics:
    statistics = Statistics()
    statistics.connected()
    return statistics


def test_nothing_is_known_and_nobody_is_up_before_the_first_statistic() -> None:
    statistics = connected()
    statistics.take(BRIDGE, b"1")  # may be a client's

    snapshot = statistics.snapshot()

    assert (snapshot.up, snapshot.known) == (False, {})


def test_the_age_begins_with_the_first_connection() -> None:
    clock = Clock()
    statistics = Statistics(clock=clock)
    ages = [statistics.snapshot().age]
    statistics.connected()
    clock.now += 20
    ages.append(statistics.snapshot().age)
    statistics.disconnected()
    statistics.connected()
    statistics.take(RECEIVED, b"1", retained=True)
    clock.now += 20
    ages.append(statistics.snapshot().age)

    assert ages == [None, 20.0, 40.0]


def test_a_value_holds_until_the_connection_ends_however_long_it_is_not_repeated() -> None:
    clock = Clock()
    statistics = Statistics(clock=clock)
    statistics.connected()
    statistics.take(CONNECTED, b"51")
    clock.now += 86400

    snapshot = statistics.snapshot()

    assert (snapshot.up, snapshot.known, snapshot.age) == (True, {CONNECTED: 51.0}, 86400.0)


def test_with_the_connection_goes_all_that_was_told_on_it() -> None:
    statistics = connected()
    for topic, payload in ((RECEIVED, b"900"), (BRIDGE, b"1"), ("$SYS/broker/note", b"text")):
        statistics.take(topic, payload)

    statistics.disconnected()
    away = statistics.snapshot()
    statistics.connected()
    statistics.take(CONNECTED, b"1")
    back = statistics.snapshot()

    assert (away.up, away.known, away.others) == (False, {}, {})
    assert (back.up, back.known, back.others) == (True, {CONNECTED: 1.0}, {})


def test_what_comes_before_the_subscription_is_acknowledged_is_not_lost() -> None:
    """A server may send it first (MQTT 5, 3.8.4), and says it once."""
    statistics = connected()
    statistics.disconnected()
    statistics.take(CONNECTED, b"1", retained=True)

    statistics.connected()

    assert statistics.snapshot().known == {CONNECTED: 1.0}


def test_the_age_goes_on_while_the_broker_is_away() -> None:
    clock = Clock()
    statistics = Statistics(clock=clock)
    statistics.connected()
    statistics.take(RECEIVED, b"1")
    statistics.disconnected()
    clock.now += 30

    assert statistics.snapshot().age == 30.0


def test_only_statistics_make_the_age_young_again() -> None:
    clock = Clock()
    statistics = Statistics(clock=clock)
    statistics.connected()
    statistics.take(RECEIVED, b"1")
    clock.now += 30
    statistics.take(BRIDGE, b"1")
    statistics.take(RECEIVED, b"NaN")
    statistics.take(RECEIVED, b"2", retained=True)

    assert statistics.snapshot().age == 30.0


def test_the_first_connection_is_no_reconnect() -> None:
    statistics = Statistics()
    counts = [statistics.snapshot().reconnects]
    for _ in range(3):
        statistics.connected()
        statistics.disconnected()
        counts.append(statistics.snapshot().reconnects)

    assert counts == [0, 0, 1, 2]


def test_garbage_changes_nothing_but_its_count() -> None:
    statistics = connected()
    statistics.take(RECEIVED, b"12")
    statistics.take("$SYS/broker/version", b"mosquitto version 2.0.11")
    before = statistics.snapshot()

    for payload in (b"NaN", b"Infinity", b"", b"\xff", b"-1", b"x" * 1_000_000):
        statistics.take(RECEIVED, payload)
    statistics.take("$SYS/broker/version", b"\xff")
    statistics.refuse()

    after = statistics.snapshot()
    assert (after.known, after.others, after.up) == (before.known, before.others, True)
    assert after.messages == 10
    assert after.ignored == {Ignored.MALFORMED: 7, Ignored.TOO_LARGE: 1}


def test_a_counter_of_the_broker_is_shown_as_it_is_even_when_it_begins_anew() -> None:
    statistics = connected()
    values = []
    for payload in (b"5", b"9", b"0", b"2"):
        statistics.take(RECEIVED, payload)
        values.append(statistics.snapshot().known[RECEIVED])

    assert values == [5.0, 9.0, 0.0, 2.0]


def test_so_many_other_topics_are_kept_and_no_more() -> None:
    statistics = connected()
    for number in range(MOST_OTHER_TOPICS + 50):
        statistics.take(f"$SYS/broker/connection/{number}/state", b"0")
    statistics.take("$SYS/broker/connection/0/state", b"1")
    statistics.take(RECEIVED, b"7")

    snapshot = statistics.snapshot()

    assert len(snapshot.others) == MOST_OTHER_TOPICS
    assert snapshot.others["$SYS/broker/connection/0/state"] == 1.0
    assert snapshot.ignored == {Ignored.TOO_MANY_TOPICS: 50}
    assert snapshot.known == {RECEIVED: 7.0}


def test_a_text_that_changes_is_no_information_and_is_not_shown_again() -> None:
    statistics = connected()
    for text in (b"12:00:00", b"12:00:00", b"12:00:10", b"12:00:20", b"12:00:00"):
        statistics.take("$SYS/broker/time", text)

    snapshot = statistics.snapshot()

    assert snapshot.others == {}
    assert snapshot.ignored == {Ignored.CHANGING_TEXT: 3}


def test_a_topic_that_is_now_a_number_and_now_a_text_is_not_shown() -> None:
    statistics = connected()
    statistics.take(BRIDGE, b"1")
    statistics.take(BRIDGE, b"down")

    assert statistics.snapshot().others == {}
