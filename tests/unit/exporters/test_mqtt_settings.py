"""Settings of the MQTT exporter: what each may be, and what a bad one is told."""

import re
from dataclasses import replace

import pytest

from exporters.mqtt import settings
from exporters.mqtt.errors import SettingsInvalid
from exporters.mqtt.settings import Broker

SECRET = "a-password-in-the-wrong-place"


def problems(**environment: str) -> dict[str, str]:
    """The variables that are refused, each with what is said of it."""
    with pytest.raises(SettingsInvalid) as caught:
        settings.from_environment(environment)
    assert SECRET not in str(caught.value)
    lines = str(caught.value).splitlines()
    return {name: problem for name, _, problem in (line.partition(": ") for line in lines)}


def test_nothing_has_to_be_set() -> None:
    found = settings.from_environment({})

    assert (found.host, found.port, found.keepalive) == ("0.0.0.0", 9234, 15)
    assert (found.broker, found.username, found.password) == (Broker("localhost", 1883, tls=False), "", "")


def test_an_empty_or_blank_variable_counts_as_not_set() -> None:
    blank = {name: "" if number % 2 else "  " for number, (name, _, _) in enumerate(settings.VARIABLES)}

    found, unset = settings.from_environment(blank), settings.from_environment({})
    assert replace(found, client_id=unset.client_id) == unset


def test_without_a_name_of_its_own_it_takes_one_that_no_device_can_guess() -> None:
    """A broker throws out whoever has the client id of somebody who logs in."""
    names = {settings.from_environment({}).client_id for _ in range(100)}

    assert len(names) == 100
    assert all(re.fullmatch(r"mqtt-exporter-[0-9a-f]{16}", name) for name in names)


@pytest.mark.parametrize(
    ("url", "broker", "shown"),
    [
        ("mqtt://mosquitto:1883", Broker("mosquitto", 1883, tls=False), "mqtt://mosquitto:1883"),
        ("mqtt://mosquitto", Broker("mosquitto", 1883, tls=False), "mqtt://mosquitto:1883"),
        ("mqtts://broker.example/", Broker("broker.example", 8883, tls=True), "mqtts://broker.example:8883"),
        ("MQTT://10.0.0.7:11883", Broker("10.0.0.7", 11883, tls=False), "mqtt://10.0.0.7:11883"),
        ("mqtt://[::1]:1883", Broker("::1", 1883, tls=False), "mqtt://[::1]:1883"),
        (" mqtt://mosquitto\n", Broker("mosquitto", 1883, tls=False), "mqtt://mosquitto:1883"),
    ],
)
def test_a_broker_is_named_by_its_url(url: str, broker: Broker, shown: str) -> None:
    found = settings.from_environment({"MQTT_BROKER": url}).broker

    assert (found, str(found)) == (broker, shown)


def test_a_password_is_taken_as_it_is() -> None:
    found = settings.from_environment({"MQTT_USERNAME": " exporter ", "MQTT_PASSWORD": " with blanks "})

    assert (found.username, found.password) == ("exporter", " with blanks ")


NO_BROKER = "must be mqtt://host:port, or mqtts://host:port for TLS"
NO_LOGIN = "must hold no user name and no password; set MQTT_USERNAME and MQTT_PASSWORD instead"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("MQTT_BROKER", "mosquitto", NO_BROKER),
        ("MQTT_BROKER", "mosquitto:1883", NO_BROKER),
        ("MQTT_BROKER", "tcp://mosquitto:1883", NO_BROKER),
        ("MQTT_BROKER", "mqtt://", NO_BROKER),
        ("MQTT_BROKER", "mqtt://mosquitto:0", NO_BROKER),
        ("MQTT_BROKER", f"mqtt://mosquitto:{SECRET}", NO_BROKER),
        ("MQTT_BROKER", "mqtt://mosquitto:99999", NO_BROKER),
        ("MQTT_BROKER", "mqtt://[::1", NO_BROKER),
        ("MQTT_BROKER", "mqtt://mosquitto/path", NO_BROKER),
        ("MQTT_BROKER", f"mqtt://mosquitto?password={SECRET}", NO_BROKER),
        ("MQTT_BROKER", f"mqtt://exporter:{SECRET}@mosquitto", NO_LOGIN),
        ("PORT", "http", "must be a whole number from 0 to 65535"),
        ("PORT", "-1", "must be a whole number from 0 to 65535"),
        ("PORT", "65536", "must be a whole number from 0 to 65535"),
        ("PORT", "9_234", "must be a whole number from 0 to 65535"),
        ("PORT", "9" * 5000, "must be a whole number from 0 to 65535"),
        ("PORT", "tcp://10.0.0.1:9234", "must be a whole number from 0 to 65535"),
        ("MQTT_KEEPALIVE", "0", "must be a whole number from 1 to 300"),
        ("MQTT_KEEPALIVE", "301", "must be a whole number from 1 to 300"),
        ("MQTT_KEEPALIVE", "1.5", "must be a whole number from 1 to 300"),
        ("MQTT_CLIENT_ID", "a/b", "must be 1 to 64 letters, digits, dots, dashes and underscores"),
        ("MQTT_CLIENT_ID", "x" * 65, "must be 1 to 64 letters, digits, dots, dashes and underscores"),
    ],
)
def test_a_bad_value_is_named_with_the_cure_and_not_repeated(name: str, value: str, problem: str) -> None:
    assert problems(**{name: value}) == {name: problem}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"MQTT_USERNAME": "exporter", "MQTT_USERNAME_FILE": "/run/user"},
            {"MQTT_USERNAME_FILE": "must be empty when MQTT_USERNAME is set"},
        ),
        (
            {"MQTT_USERNAME": "exporter", "MQTT_PASSWORD": SECRET, "MQTT_PASSWORD_FILE": "/run/password"},
            {"MQTT_PASSWORD_FILE": "must be empty when MQTT_PASSWORD is set"},
        ),
        ({"MQTT_PASSWORD": SECRET}, {"MQTT_USERNAME": "must be set, for there is a password"}),
        ({"MQTT_PASSWORD_FILE": "/run/password"}, {"MQTT_USERNAME": "must be set, for there is a password"}),
        (
            {"MQTT_BROKER": "mqtts://mosquitto", "MQTT_CERT_FILE": "/run/tls.crt"},
            {"MQTT_KEY_FILE": "must be set, for MQTT_CERT_FILE is"},
        ),
        (
            {"MQTT_BROKER": "mqtts://mosquitto", "MQTT_KEY_FILE": "/run/tls.key"},
            {"MQTT_CERT_FILE": "must be set, for MQTT_KEY_FILE is"},
        ),
        (
            {"MQTT_CA_FILE": "/run/ca.crt"},
            {"MQTT_BROKER": "must begin with mqtts://, for there are files for TLS"},
        ),
    ],
)
def test_what_does_not_go_together_is_told(environment: dict[str, str], expected: dict[str, str]) -> None:
    assert problems(**environment) == expected


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = problems(PORT="x", MQTT_BROKER="x", MQTT_KEEPALIVE="x", MQTT_PASSWORD=SECRET)

    assert list(found) == ["MQTT_BROKER", "PORT", "MQTT_KEEPALIVE", "MQTT_USERNAME"]


def test_a_password_is_not_shown_with_the_settings() -> None:
    found = settings.from_environment({"MQTT_USERNAME": "exporter", "MQTT_PASSWORD": SECRET})

    assert SECRET not in repr(found)
    assert SECRET not in str(found)
