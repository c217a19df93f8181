import os
from pathlib import Path
from unittest import mock

import pytest

from billing_api.errors import SettingsError
from billing_api.settings import Settings, describe, from_environment, misspelt


def read(environ: dict[str, str]) -> Settings:
    """Read the settings of an environment that holds nothing else."""
    with mock.patch.dict(os.environ, environ, clear=True):
        return from_environment()


def test_defaults_follow_the_documents() -> None:
    settings = read({"XDG_DATA_HOME": "/data"})
    assert (settings.port, settings.host, settings.default_trial_days) == (3100, "127.0.0.1", 14)
    assert settings.data_dir == Path("/data/iotistic-billing")
    assert settings.database_url == ""


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read({"PORT": " "}).port == 3100


def test_values_are_read_and_converted() -> None:
    environ = {"PORT": "0", "BASE_DOMAIN": "Iotistic.Cloud", "OUTBOX_RETRY_BASE_SECONDS": "0.5", "DATA_DIR": "/srv/b"}
    settings = read(environ)
    assert (settings.port, settings.base_domain) == (0, "iotistic.cloud")
    assert (settings.outbox_retry_base_seconds, settings.data_dir) == (0.5, Path("/srv/b"))


@pytest.mark.parametrize(
    ("variable", "value", "cure"),
    [
        ("PORT", "eighty", "a whole number"),
        ("PORT", "65536", "at most 65535"),
        ("PORT", "-1", "at least 0"),
        ("DEFAULT_TRIAL_DAYS", "0", "at least 1"),
        ("DEFAULT_TRIAL_DAYS", "1.5", "a whole number"),
        ("OUTBOX_RETRY_BASE_SECONDS", "nan", "a finite number"),
        ("DATABASE_URL", "mysql://root:hunter2@db/billing", "postgresql://user:password@host:5432/billing"),
        ("BASE_DOMAIN", "https://iotistic.cloud", "a domain name such as iotistic.cloud"),
        ("BASE_DOMAIN", "-iotistic.cloud", "a domain name"),
        ("BASE_DOMAIN", "iotistic..cloud", "a domain name"),
        ("LICENSE_PRIVATE_KEY_PATH", "/nowhere/key.pem", "a readable file"),
        ("KUBECONFIG", "/nowhere/config", "a readable file"),
        ("SESSION_SECRET", "hunter2", "at least 32 characters"),
        ("JWKS_CONFIG_MAP", "license-jwks", "namespace/name of a ConfigMap"),
        ("JWKS_CONFIG_MAP", "a/b/c", "namespace/name of a ConfigMap"),
        ("LOG_LEVEL", "loud", "one of 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_a_bad_value_is_refused_with_the_variable_and_the_cure(variable: str, value: str, cure: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read({variable: value})
    assert str(raised.value).startswith(f"{variable}: ")
    assert cure in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_all_bad_values_are_reported_together() -> None:
    with pytest.raises(SettingsError) as raised:
        read({"PORT": "x", "LOG_FORMAT": "xml", "HOST": "127.0.0.1"})
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == ["PORT", "LOG_FORMAT"]


def test_what_replicas_must_share_is_asked_for_with_all_else_that_is_wrong() -> None:
    def refuse(url: str) -> None:
        assert url == "postgresql://db/billing"
        raise SettingsError("DATABASE_URL: cannot be read")

    environ = {"PORT": "x", "SESSION_SECRET": "short", "IDEMPOTENCY_SECRET": "i" * 32}
    for shared in ({"DATABASE_URL": "postgresql://db/billing"}, {"database_url": "postgresql://db/billing"}):
        with mock.patch.dict(os.environ, environ | shared, clear=True), pytest.raises(SettingsError) as raised:
            from_environment(serving=True, check_database_url=refuse)
        assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == [
            "PORT",
            "SESSION_SECRET",
            "DATABASE_URL",
            "LICENSE_PRIVATE_KEY_PATH",
        ]


def test_what_replicas_must_share_is_not_asked_for_with_the_built_in_database_or_by_commands() -> None:
    with mock.patch.dict(os.environ, {}, clear=True):
        assert from_environment(serving=True).session_secret == ""
    assert read({"DATABASE_URL": "postgresql://db/billing"}).session_secret == ""


def test_secrets_are_not_shown_when_the_settings_are_printed() -> None:
    environ = {"DATABASE_URL": "postgresql://a:hunter2@db/b", "SESSION_SECRET": "correct horse battery staple!!!!!"}
    shown = repr(read(environ))
    assert "hunter2" not in shown
    assert "battery" not in shown


def test_a_variable_that_is_nearly_a_setting_is_found_and_others_are_not() -> None:
    near = {"DATABASE_URI": "x", "SESSION_SECRETS": "x", "OUTBOX_RETRY_BASE_SECOND": "1"}
    far = {
        "HOSTNAME": "x",
        "PATH": "/",
        "PORT": "1",
        "database_url": "",
        "KUBERNETES_SERVICE_PORT": "1",
        "LOGNAME": "x",
    }
    with mock.patch.dict(os.environ, near | far, clear=True):
        assert dict(misspelt()) == {
            "DATABASE_URI": "DATABASE_URL",
            "SESSION_SECRETS": "SESSION_SECRET",
            "OUTBOX_RETRY_BASE_SECOND": "OUTBOX_RETRY_BASE_SECONDS",
        }


def test_every_setting_is_described_with_its_default() -> None:
    described = {name: (default, text) for name, default, text in describe()}
    assert described["PORT"] == ("3100", "Port to listen on; 0 takes a free one and prints it")
    assert described["DATA_DIR"][0] == described["KUBECONFIG"][0] == ""
    assert all(text for _, text in described.values())
