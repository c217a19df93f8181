"""What the rows of mqtt_users and mqtt_acls mean, to the plugin given or to its stand-in.

What a client must not receive shows by what it receives next. The plugin remembers: each user has a name of its own.
"""

import pytest

from tests.services.conftest import AddUser, Connect, Tenant
from tests.support.mqtt import Login, MqttClient, Refused
from tests.support.tenant_broker import TenantBroker

GRANTED, DENIED = "Granted QoS 1", "Not authorized"


def publishes(client: MqttClient, topic: str, payload: str = "") -> bool:
    """Publish, and tell whether the broker took it."""
    answer = client.publish(topic, payload)
    assert answer in {"Success", "No matching subscribers", DENIED}
    return answer != DENIED


@pytest.mark.parametrize(
    ("access", "writes", "subscribes", "receives"),
    [
        pytest.param(1, False, False, False, id="read"),
        pytest.param(2, True, False, False, id="write"),
        pytest.param(3, True, False, False, id="read and write"),
        pytest.param(4, False, True, False, id="subscribe"),
        pytest.param(5, False, True, True, id="subscribe and read"),
        pytest.param(6, True, True, False, id="subscribe and write"),
        pytest.param(7, True, True, True, id="all"),
    ],
)
def test_access_is_a_mask_of_reading_writing_and_subscribing(
    tenant: Tenant,
    connect: Connect,
    add_user: AddUser,
    access: int,
    writes: bool,
    subscribes: bool,
    receives: bool,
) -> None:
    name = f"mask{access}"
    user = connect(add_user(name, acls={"mask/x": access, "next/%u": 5}))
    api = connect(tenant.login("api"))
    user.subscribe(f"next/{name}")

    assert user.subscribe("mask/x") == (GRANTED if subscribes else DENIED)
    assert publishes(user, "mask/x", "from the user") == writes
    api.publish("mask/x", "from the API")
    api.publish(f"next/{name}", "next")

    coming = {"from the user": receives and writes, "from the API": receives, "next": True}
    for payload in (text for text, comes in coming.items() if comes):
        assert user.receive()[1] == payload


def test_several_rows_add_up(tenant: Tenant, connect: Connect, add_user: AddUser) -> None:
    user = connect(add_user("rows", acls={"a/+/c": 2, "a/b/#": 1, "+/b/c": 4}))

    assert user.subscribe("a/b/c") == GRANTED
    assert publishes(user, "a/b/c", "all three")
    assert user.receive() == ("a/b/c", "all three")


@pytest.mark.parametrize(
    ("pattern", "topic", "allowed"),
    [
        ("a", "a", True),
        ("a", "a/b", False),
        ("a", "A", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("+", "a", True),
        ("+", "a/b", False),
        ("+/b", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("a+/b", "ax/b", False),
        ("/a", "a", False),
        ("#", "a/b/c", True),
    ],
)
def test_a_pattern_of_the_acl_is_matched_by_levels(
    connect: Connect, add_user: AddUser, pattern: str, topic: str, allowed: bool
) -> None:
    user = connect(add_user("levels" + "".join(f"{ord(c):x}" for c in pattern + topic), acls={pattern: 2}))

    assert publishes(user, topic) == allowed


def test_a_superuser_needs_no_acl(tenant: Tenant, connect: Connect, add_user: AddUser) -> None:
    user, api = connect(add_user("root", acls={}, superuser=True)), connect(tenant.login("api"))

    assert user.subscribe("super/#") == GRANTED
    api.publish("super/x", "hello")
    assert user.receive() == ("super/x", "hello")
    assert publishes(user, "super/y")


def test_a_superuser_that_is_not_active_is_refused(connect: Connect, add_user: AddUser) -> None:
    with pytest.raises(Refused, match=DENIED):
        connect(add_user("former", acls={}, superuser=True, active=False))


def test_an_ordinary_user_without_acls_may_do_nothing(connect: Connect, add_user: AddUser) -> None:
    user = connect(add_user("nobody", acls={}))

    assert user.subscribe("t/nobody/#") == DENIED
    assert not publishes(user, "t/nobody/x")


def test_the_names_of_user_and_client_are_put_into_the_pattern(connect: Connect, add_user: AddUser) -> None:
    login = add_user("expanded", acls={"c/%c/u-%u/%u": 2, "literal/%%u": 2})
    client = connect(login, client_id="client-1")

    assert publishes(client, "c/client-1/u-expanded/expanded")
    assert not publishes(client, "c/client-2/u-expanded/expanded")
    assert not publishes(client, "c/%c/u-%u/%u")
    assert publishes(client, "literal/%expanded")


@pytest.mark.parametrize("client_id", ["+", "#", "x/#"])
def test_a_client_that_calls_itself_by_a_wildcard_gains_nothing(
    connect: Connect, add_user: AddUser, client_id: str
) -> None:
    client = connect(add_user("wild", acls={"c/%c/#": 7, "plain": 7}), client_id=client_id)

    assert client.subscribe("c/other/#") == DENIED
    assert not any(publishes(client, topic) for topic in ("c/other/x", "c/x/y", "plain"))


@pytest.mark.parametrize(
    "name",
    [
        """o'brien"; DROP TABLE mqtt.mqtt_users; --""",
        "' OR '1'='1",
        "$1",
        r"back\slash",
        "%u",
        "100%",
        "gerät-€-設備",
        " spaces ",
    ],
)
def test_any_name_that_the_tables_take_is_a_name_and_nothing_else(
    connect: Connect, add_user: AddUser, name: str
) -> None:
    user = connect(add_user(name, acls={"names/%u/#": 7}))

    assert not publishes(user, "names/other/x")
    assert publishes(user, f"names/{name}/x")
    with pytest.raises(Refused, match=DENIED):
        connect(Login(name, "wrong"))


@pytest.mark.parametrize(
    "login",
    [
        pytest.param(Login("x" * 65535, "x"), id="name"),
        pytest.param(Login("x", "y" * 65535), id="password"),
        pytest.param(Login("'" * 65535, "'" * 65535), id="both"),
    ],
)
def test_names_and_passwords_as_long_as_the_protocol_allows_are_refused(
    tenant: Tenant, tenant_broker: TenantBroker, connect: Connect, login: Login
) -> None:
    with pytest.raises(Refused, match=DENIED):
        connect(login)

    with MqttClient(tenant_broker.plain, tenant.login("api")) as api:
        assert publishes(api, "after/the/long/name")


def test_a_long_topic_is_matched_whole(connect: Connect, add_user: AddUser) -> None:
    user = connect(add_user("long", acls={"t/%u/#": 2}))

    assert publishes(user, "t/long/" + "x" * 60000)
    assert not publishes(user, "t/lonG/" + "x" * 60000)
