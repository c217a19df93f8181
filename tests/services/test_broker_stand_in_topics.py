"""Which topics and subscriptions a row of mqtt_acls allows, by the stand-in: all short ones, and the special ones."""

from itertools import product

import pytest

from tests.support.plugin_driver import allowed_topics

LEVELS = ("a", "b", "")
TOPICS = ["/".join(levels) for depth in range(1, 6) for levels in product(LEVELS, repeat=depth)]
FILTERS = [
    "/".join(levels)
    for depth in range(1, 4)
    for levels in product(("a", "b", "", "+", "#"), repeat=depth)
    if "#" not in levels[:-1]
]


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a subscription has a topic (MQTT 5, 4.7.1); here # includes the topics that begin with $."""
    expected, given = pattern.split("/"), topic.split("/")
    if expected[-1] == "#":
        expected.pop()
        given = given[: len(expected)]
    return len(expected) == len(given) and all(one in {"+", other} for one, other in zip(expected, given, strict=True))


def test_a_topic_is_allowed_exactly_when_the_pattern_has_it() -> None:
    pairs = [(pattern, topic) for pattern in FILTERS for topic in TOPICS[:120]]

    answers = allowed_topics((pattern, "user", "client", topic) for pattern, topic in pairs)

    assert answers == [matches(pattern, topic) for pattern, topic in pairs]
    assert {True, False} == set(answers)


def test_a_subscription_is_allowed_only_when_the_pattern_has_all_that_it_brings() -> None:
    brings = {pattern: {topic for topic in TOPICS if matches(pattern, topic)} for pattern in FILTERS}
    pairs = [(pattern, subscription) for pattern in FILTERS for subscription in FILTERS if subscription]

    answers = allowed_topics((pattern, "user", "client", subscription) for pattern, subscription in pairs)

    allowed = {pair for pair, answer in zip(pairs, answers, strict=True) if answer}
    assert [pair for pair in allowed if not brings[pair[1]] <= brings[pair[0]]] == []
    assert allowed >= {(subscription, subscription) for _, subscription in pairs}


@pytest.mark.parametrize(
    ("pattern", "topic", "allowed"),
    [
        pytest.param("#", "$SYS/broker/version", True, id="# includes $SYS"),
        pytest.param("$SYS/#", "$SYS/broker/version", True, id="$SYS itself"),
        pytest.param("+", "#", False, id="one level is not all"),
        pytest.param("+/+", "a/#", False, id="two levels are not all below one"),
        pytest.param("a/#/b", "a", False, id="# within"),
        pytest.param("a/b+", "a/b+", True, id="+ within a level is no wildcard"),
        pytest.param("a/b+", "a/bc", False, id="nor does it match"),
        pytest.param("", "a", False, id="nothing"),
        pytest.param("t/%u/%c", "t/name/id", True, id="both names"),
        pytest.param("%u%c%u", "nameidname", True, id="names side by side"),
        pytest.param("%", "%", True, id="a sign alone"),
        pytest.param("%x/%%u", "%x/%name", True, id="other signs"),
        pytest.param("%c", "id", True, id="client"),
        pytest.param("%c", "other", False, id="another client"),
    ],
)
def test_the_special_cases(pattern: str, topic: str, allowed: bool) -> None:
    assert allowed_topics([(pattern, "name", "id", topic)]) == [allowed]


@pytest.mark.parametrize("name", ["+", "#", "a/b", "a+b"])
def test_a_name_brings_no_wildcard_and_no_level(name: str) -> None:
    questions = [("t/%u/#", name, "id", f"t/{name}/x"), ("t/%c/#", "name", name, f"t/{name}/x")]

    assert allowed_topics(questions) == [False, False]


def test_a_client_that_calls_itself_like_the_place_of_a_user_is_not_taken_for_it() -> None:
    assert allowed_topics([("t/%c", "admin", "%u", "t/admin"), ("t/%c", "admin", "%u", "t/%u")]) == [False, True]


def test_a_pattern_that_becomes_too_long_allows_nothing() -> None:
    long = "x" * 60000

    assert allowed_topics([("%u/%u", long, "id", "x"), ("%u/#", long, "id", f"{long}/x")]) == [False, True]
