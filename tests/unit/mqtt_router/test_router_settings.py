"""The router's environment: defaults that fit the manifests, and every mistake named at once."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from mqtt_router.errors import SettingInvalid
from mqtt_router.settings import Settings, from_environment


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_variables_the_defaults_hold() -> None:
    settings = from_environment()

    assert settings.map_file == Path("/run/mqtt-router/routes.map")
    assert not any(network.overlaps(ip_network("127.0.0.0/8")) for network in settings.address_ranges)


def test_ranges_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADDRESS_RANGES", "10.96.0.0/12, fd00::/108")

    assert from_environment().address_ranges == (ip_network("10.96.0.0/12"), ip_network("fd00::/108"))


WRONG = {
    "ROUTER_NAMESPACE": ("Router", "must be the name of a namespace; it is 'Router'"),
    "ADDRESS_RANGES": ("10.0.0.1/8", "must be ranges of addresses such as 10.96.0.0/12, separated by commas"),
    "MAP_FILE": ("/run/a;b", "must be an absolute path of letters, digits, dots, dashes and underscores"),
    "CHECK_INTERVAL": ("0", "must be at least 0.05"),
    "COMPARE_INTERVAL": ("often", "must be a number"),
    "PROBE_PORT": ("70000", "must be at most 65535"),
}


def test_all_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (value, _) in WRONG.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingInvalid) as error:
        from_environment()

    lines = str(error.value).splitlines()
    assert len(lines) == len(WRONG)
    for name, (_, complaint) in WRONG.items():
        assert any(line.startswith(f"{name} {complaint}") for line in lines), lines


@pytest.mark.parametrize("path", ["relative", "/a b", "/a\nb", "/a;b", "/a\\b"])
def test_a_map_file_whose_name_could_end_a_command_is_refused(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("MAP_FILE", path)

    with pytest.raises(SettingInvalid, match="MAP_FILE must be an absolute path"):
        from_environment()
