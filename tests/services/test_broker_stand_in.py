"""The stand-in for mosquitto-go-auth within Mosquitto: its options, its log, its growth."""

import shutil
import signal
from pathlib import Path

import bcrypt
import psutil
import pytest

from tests.services.conftest import AddDevice, LoginAs, MakeBroker, Tenant, secrets_in
from tests.support import raw_mqtt
from tests.support.mqtt import Login, MqttClient, Refused
from tests.support.tenant_broker import Programs, TenantBroker, find_mosquitto, find_stand_in
from tests.support.tenant_database import TenantDatabase

LOGINS = 500  # of each of three kinds, in each of two rounds
GROWTH = 256 * 1024  # bytes; 175 for each login


@pytest.fixture(scope="module")
def stand_in(folder: Path) -> Programs:
    return Programs(mosquitto=find_mosquitto(), plugin=Path(shutil.copy(find_stand_in(), folder / "stand-in.so")))


@pytest.mark.parametrize(
    ("line", "instead", "complaint"),
    [
        ("backends postgres", "backends mysql", "auth_opt_backends: this plugin knows only postgres"),
        ("hasher bcrypt", "hasher pbkdf2", "auth_opt_hasher: this plugin knows only bcrypt"),
        ("hasher_cost 10", "hasher_cost 3", "auth_opt_hasher_cost: not a whole number from 4 to"),
        ("hasher_cost 10", "hasher_costs 10", "auth_opt_hasher_costs: no option of this plugin"),
        ("pg_sslmode disable", "pg_sslmode off", "auth_opt_pg_sslmode: this plugin knows only disable require"),
        ("pg_connect_tries -1", "pg_connect_tries -2", "auth_opt_pg_connect_tries: not a whole number from -1 to"),
        ("pg_connect_tries -1", "pg_connect_tries ever", "auth_opt_pg_connect_tries: not a whole number"),
        ("cache true", "cache yes", "auth_opt_cache: neither true nor false"),
        ("auth_cache_seconds 30", "auth_cache_seconds 30s", "auth_opt_auth_cache_seconds: not a whole number from 0"),
        ("acl_jitter_seconds 3", "acl_jitter_seconds -3", "auth_opt_acl_jitter_seconds: not a whole number from 0"),
        ("acl_jitter_seconds 3", "acl_jitter_seconds 99999999999999999999", "auth_opt_acl_jitter_seconds: not a whole"),
        ("log_level info", "log_level loud", "auth_opt_log_level: this plugin knows only debug info"),
        ("log_dest stdout", "log_dest file", "auth_opt_log_dest: this plugin knows only stdout stderr"),
    ],
)
def test_an_option_that_it_does_not_understand_is_named_and_ends_the_broker(
    make_broker: MakeBroker, stand_in: Programs, line: str, instead: str, complaint: str
) -> None:
    broker = make_broker(programs=stand_in, changes={f"\nauth_opt_{line}\n": f"\nauth_opt_{instead}\n"})

    broker.launch()

    assert broker.server.wait() != 0
    assert complaint in broker.server.log


@pytest.mark.parametrize("name", ["backends", "hasher", "pg_dbname", "pg_user", "pg_password", "pg_userquery"])
def test_an_option_that_it_cannot_do_without_is_named(
    tenant: Tenant, make_broker: MakeBroker, stand_in: Programs, name: str
) -> None:
    broker = make_broker(programs=stand_in, changes={f"\nauth_opt_{name} ": "\n#"})

    broker.launch()

    assert broker.server.wait() != 0
    assert f"auth_opt_{name}: missing" in broker.server.log
    assert secrets_in(broker.server.log, tenant) == []


def test_a_password_in_the_wrong_place_is_not_repeated(
    tenant: Tenant, make_broker: MakeBroker, stand_in: Programs
) -> None:
    broker = make_broker(programs=stand_in, changes={"auth_opt_pg_password": "auth_opt_pg_sslmode"})

    broker.launch()

    assert broker.server.wait() != 0
    assert "auth_opt_pg_sslmode: this plugin knows only" in broker.server.log
    assert secrets_in(broker.server.log, tenant) == []


def test_no_level_of_the_log_tells_a_password(
    tenant: Tenant, make_broker: MakeBroker, stand_in: Programs, add_device: AddDevice
) -> None:
    broker = make_broker(programs=stand_in, changes={"auth_opt_log_level info": "auth_opt_log_level debug"})
    broker.start()
    with MqttClient(broker.plain, add_device("logged")):
        pass
    for login in (Login("api", "a-wrong-password"), Login("api", "")):
        with pytest.raises(Refused), MqttClient(broker.plain, login):
            pass
    broker.stop()

    assert "backend registered: Postgres" in broker.server.log
    assert secrets_in(broker.server.log, tenant) == []
    assert "a-wrong-password" not in broker.server.log


def test_it_gives_up_after_as_many_tries_as_it_is_told(
    make_broker: MakeBroker, stand_in: Programs, tenant_database: TenantDatabase
) -> None:
    broker = make_broker(programs=stand_in, changes={"pg_connect_tries -1": "pg_connect_tries 2"})

    with tenant_database.away():
        broker.launch()
        assert broker.server.wait() != 0

    assert broker.server.log.count("will retry in 2s") == 1
    assert "couldn't ping database postgres" in broker.server.log


def test_a_broker_that_waits_for_its_database_can_be_ended(
    make_broker: MakeBroker, stand_in: Programs, tenant_database: TenantDatabase
) -> None:
    broker = make_broker(programs=stand_in)
    with tenant_database.away():
        broker.launch()
        broker.server.wait_for("will retry in 2s")

        assert broker.server.stop() == -signal.SIGTERM


def test_a_query_that_the_database_refuses_lets_nobody_in(
    make_broker: MakeBroker, stand_in: Programs, add_device: AddDevice
) -> None:
    broker = make_broker(programs=stand_in, changes={"SELECT password_hash": "SELECT no_such_column"})
    broker.start()

    with pytest.raises(Refused), MqttClient(broker.plain, add_device("misconfigured")):
        pass

    broker.server.wait_for("query failed: .*no_such_column")


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("", id="nothing"),
        pytest.param("a-device's-password", id="the password itself"),
        pytest.param("PBKDF2$sha512$100000$c2FsdA==$aGFzaA==", id="another hasher's"),
        pytest.param("$2b$10$" + "." * 52, id="too short"),
        pytest.param("$2b$10$" + "." * 5000, id="too long"),
        pytest.param("$2b$99$" + "." * 53, id="an impossible cost"),
        pytest.param("ab" + "l" * 11, id="DES"),
    ],
)
def test_what_is_no_bcrypt_hash_opens_nothing(
    make_broker: MakeBroker, stand_in: Programs, add_device: AddDevice, login_as: LoginAs, stored: str
) -> None:
    broker, login = make_broker(programs=stand_in), add_device("damaged")
    login_as("api").execute("UPDATE mqtt_users SET password_hash = %s WHERE username = 'damaged'", [stored])
    broker.start()

    with pytest.raises(Refused, match="Not authorized"), MqttClient(broker.plain, login):
        pass
    broker.close()


@pytest.mark.parametrize("kind", [b"2a", b"2b", b"2y"])
def test_every_spelling_of_bcrypt_is_verified(
    make_broker: MakeBroker, stand_in: Programs, add_device: AddDevice, login_as: LoginAs, kind: bytes
) -> None:
    broker, name = make_broker(programs=stand_in), f"spelling{kind.decode()}"
    add_device(name)
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).replace(b"$2b$", b"$%s$" % kind).decode()
    login_as("api").execute("UPDATE mqtt_users SET password_hash = %s WHERE username = %s", [hashed, name])
    broker.start()

    assert raw_mqtt.connect(broker.plain, Login(name, "secret")) == raw_mqtt.ACCEPTED
    assert raw_mqtt.connect(broker.plain, Login(name, "Secret")) == raw_mqtt.NOT_AUTHORIZED
    broker.close()


def test_thousands_of_logins_take_no_memory(
    make_broker: MakeBroker, stand_in: Programs, add_device: AddDevice, login_as: LoginAs
) -> None:
    broker = make_broker(programs=stand_in)
    add_device("busy")
    hashed = bcrypt.hashpw(b"quick", bcrypt.gensalt(4)).decode()
    login_as("api").execute("UPDATE mqtt_users SET password_hash = %s WHERE username = 'busy'", [hashed])
    broker.start()

    memory = psutil.Process(broker.server.pid)
    log_in_often(broker, "first")
    before = memory.memory_info().rss
    log_in_often(broker, "second")

    assert memory.memory_info().rss - before < GROWTH
    broker.close()


def log_in_often(broker: TenantBroker, round_: str) -> None:
    """Log in rightly, wrongly and as somebody unknown, never twice the same wrong way."""
    for number in range(LOGINS):
        one = f"{round_}-{number}"
        logins = (Login("busy", "quick"), Login("busy", one), Login(one, "quick"))
        expected = [raw_mqtt.ACCEPTED, raw_mqtt.NOT_AUTHORIZED, raw_mqtt.NOT_AUTHORIZED]
        assert [raw_mqtt.connect(broker.plain, login) for login in logins] == expected
