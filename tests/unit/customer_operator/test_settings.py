"""Settings from the environment; what cannot work is refused by the variable's name."""

from dataclasses import fields
from pathlib import Path

import pytest

from customer_operator.errors import SettingInvalid
from customer_operator.settings import DEFAULT_IMAGES, Settings, from_environment


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = from_environment({})

    assert settings == Settings(identity=settings.identity)
    assert settings.identity
    assert (settings.queue_concurrency, settings.queue_max_retries, settings.queue_retry_delay) == (10, 3, 60.0)


def test_every_setting_is_read_from_the_variable_of_its_name() -> None:
    given = {
        "BASE_DOMAIN": "example.com",
        "WEB_HOST_TEMPLATE": "app-{name}.{base_domain}",
        "MQTT_HOST_TEMPLATE": "{name}-mqtt.{base_domain}",
        "INGRESS_CLASS": "traefik",
        "CLUSTER_ISSUER": "internal",
        "INGRESS_NAMESPACE": "traefik",
        "ROUTER_NAMESPACE": "router",
        "MONITORING_NAMESPACE": "metrics",
        "OPERATOR_NAMESPACE": "operators",
        "LICENSE_JWKS_PATH": "/etc/keys/jwks.json",
        "LICENSE_ISSUER": "https://billing.example.com",
        "LICENSE_GRACE": "0",
        "QUEUE_CONCURRENCY": "12",
        "QUEUE_MAX_RETRIES": "5",
        "QUEUE_RETRY_DELAY": "1.5",
        "QUEUE_AGE_STEP": "30",
        "RESYNC_INTERVAL": "900",
        "QUOTA_WAIT": "0",
        "APPLY_CONCURRENCY": "16",
        "PROBE_HOST": "127.0.0.1",
        "PROBE_PORT": "0",
        "LEASE_DURATION": "30",
        "LEASE_RENEW_DEADLINE": "20",
        "LEASE_RETRY_PERIOD": "4",
        "IDENTITY": "pod-1",
        "KUBECONFIG": "/etc/kubeconfig",
    }
    assert set(given) == {item.name.upper() for item in fields(Settings)} - {"IMAGES"}

    settings = from_environment(given)

    for variable, text in given.items():
        value = getattr(settings, variable.lower())
        assert value == type(value)(text), variable
    assert settings.kubeconfig == Path("/etc/kubeconfig")


def test_an_empty_variable_counts_as_absent() -> None:
    settings = from_environment({"BASE_DOMAIN": "", "QUEUE_CONCURRENCY": "", "LICENSE_JWKS_PATH": "", "IMAGE_API": ""})

    assert settings == Settings(identity=settings.identity)
    assert settings.license_jwks_path is None


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_DOMAIN", "example.org")

    assert from_environment().base_domain == "example.org"


@pytest.mark.parametrize(
    ("variable", "key"),
    [("IMAGE_POSTGRES", "postgres"), ("IMAGE_POSTGRES_EXPORTER", "postgresExporter"), ("IMAGE_API", "api")],
)
def test_images_have_a_variable_each(variable: str, key: str) -> None:
    assert from_environment({variable: "registry.example.com/x:1"}).images == {
        **DEFAULT_IMAGES,
        key: "registry.example.com/x:1",
    }


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("QUEUE_CONCURRENCY", "many", "must be a whole number, not 'many'"),
        ("QUEUE_CONCURRENCY", "1.5", "must be a whole number, not '1.5'"),
        ("QUEUE_CONCURRENCY", "0", "must be at least 1, not 0"),
        ("QUEUE_MAX_RETRIES", "0", "must be at least 1, not 0"),
        ("APPLY_CONCURRENCY", "-1", "must be at least 1, not -1"),
        ("QUEUE_RETRY_DELAY", "soon", "must be a number, not 'soon'"),
        ("QUEUE_RETRY_DELAY", "0", "must be at least 0.001, not 0.0"),
        ("QUEUE_AGE_STEP", "nan", "must be at least 0.001, not nan"),
        ("RESYNC_INTERVAL", "inf", "must be at least 0.001, not inf"),
        ("LICENSE_GRACE", "-1", "must be at least 0, not -1.0"),
        ("QUOTA_WAIT", "-0.1", "must be at least 0, not -0.1"),
        ("PROBE_PORT", "65536", "must be a port from 0 to 65535, not 65536"),
        ("LEASE_DURATION", "10", "must exceed LEASE_RENEW_DEADLINE"),
        ("LEASE_RENEW_DEADLINE", "2.4", "or two replicas may lead"),
        ("LEASE_RETRY_PERIOD", "0.5", "must be at least 1, not 0.5"),
        ("WEB_HOST_TEMPLATE", "app.{base_domain}", "must contain {name}, or all instances share one host"),
        ("WEB_HOST_TEMPLATE", "{customer}.{base_domain}", "may contain {name} and {base_domain} only"),
        ("WEB_HOST_TEMPLATE", "{name.owner}.{base_domain}", "may contain {name} and {base_domain} only"),
        ("WEB_HOST_TEMPLATE", "{name", "may contain {name} and {base_domain} only"),
        ("MQTT_HOST_TEMPLATE", "{}.{base_domain}", "may contain {name} and {base_domain} only"),
        ("MQTT_HOST_TEMPLATE", "{name}_mqtt.{base_domain}", "must give a DNS name in lower case"),
        ("MQTT_HOST_TEMPLATE", "{name}-for-the-devices-of-one-customer.{base_domain}", "must give a DNS name"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_name(variable: str, text: str, complaint: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        from_environment({variable: text})

    named = "LEASE_DURATION" if "LEASE_RENEW" in variable else variable
    assert str(caught.value).startswith(f"{named} ")
    assert complaint in str(caught.value)


@pytest.mark.parametrize("domain", ["https://example.com", "Example.com", "example.com.", "-x.com", "a b", "x" * 250])
def test_a_base_domain_that_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(SettingInvalid, match="with BASE_DOMAIN must give a DNS name"):
        from_environment({"BASE_DOMAIN": domain})


def test_localhost_is_a_base_domain() -> None:
    assert from_environment({"BASE_DOMAIN": "localhost"}).base_domain == "localhost"
