"""Settings from the environment; what cannot work is refused by the variable's name."""

import os
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from customer_operator.errors import SettingInvalid
from customer_operator.settings import Settings, from_environment

Read = Callable[[dict[str, str]], Settings]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads the settings of an environment that has these variables and no other."""

    def from_variables(variables: dict[str, str]) -> Settings:
        for name in os.environ:
            monkeypatch.delenv(name)
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        return from_environment()

    return from_variables


def refusal(read: Read, variables: dict[str, str]) -> str:
    with pytest.raises(SettingInvalid) as caught:
        read(variables)
    return str(caught.value)


def test_an_empty_environment_gives_the_defaults(read: Read) -> None:
    settings = read({})

    assert settings == Settings.model_construct(identity=settings.identity)
    assert settings.identity
    assert (settings.queue_concurrency, settings.queue_max_retries, settings.queue_retry_delay) == (10, 3, 60.0)


# Every variable: a text, and what it is read as.
GIVEN: dict[str, tuple[str, Any]] = {
    "BASE_DOMAIN": ("example.com", "example.com"),
    "RESERVED_HOSTS": ("example.net, Bücher.Example.", ("example.net", "xn--bcher-kva.example")),
    "WEB_HOST_TEMPLATE": ("app-{name}.{base_domain}", "app-{name}.{base_domain}"),
    "MQTT_HOST_TEMPLATE": ("{name}-mqtt.{base_domain}", "{name}-mqtt.{base_domain}"),
    "INGRESS_CLASS": ("traefik", "traefik"),
    "INGRESS_ANNOTATIONS": ('{"example.com/size": "50m"}', {"example.com/size": "50m"}),
    "CLUSTER_ISSUER": ("internal", "internal"),
    "MQTT_CERTIFICATE_ISSUER": ("devices", "devices"),
    "INGRESS_NAMESPACE": ("traefik", "traefik"),
    "ROUTER_NAMESPACE": ("router", "router"),
    "MONITORING_NAMESPACE": ("metrics", "metrics"),
    "DNS_NAMESPACE": ("dns", "dns"),
    "FRONT_DOOR": ("true", True),
    "ROUTE_PUBLISH_INTERVAL": ("0.5", 0.5),
    "ROUTE_PROBE": ("false", False),
    "ROUTE_PROBE_ADDRESS": ("{host}:8883", "{host}:8883"),
    "ROUTE_PROBE_INTERVAL": ("60", 60.0),
    "ROUTE_PROBE_TIMEOUT": ("2.5", 2.5),
    "ROUTE_PROBE_CONCURRENCY": ("4", 4),
    "CLUSTER_RANGES": ("10.1.0.0/16, fd00::/8", (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))),
    "DNS_POD_LABELS": ("app=coredns, example.com/tier=", {"app": "coredns", "example.com/tier": ""}),
    "OPERATOR_NAMESPACE": ("operators", "operators"),
    "LICENSE_JWKS_PATH": ("/etc/keys/jwks.json", Path("/etc/keys/jwks.json")),
    "LICENSE_ISSUER": ("https://billing.example.com", "https://billing.example.com"),
    "LICENSE_GRACE": ("0", 0.0),
    "QUEUE_CONCURRENCY": ("12", 12),
    "QUEUE_MAX_RETRIES": ("5", 5),
    "QUEUE_RETRY_DELAY": ("1.5", 1.5),
    "QUEUE_AGE_STEP": ("30", 30.0),
    "RESYNC_INTERVAL": ("900", 900.0),
    "QUOTA_WAIT": ("0", 0.0),
    "APPLY_CONCURRENCY": ("16", 16),
    "PROBE_HOST": ("127.0.0.1", "127.0.0.1"),
    "PROBE_PORT": ("0", 0),
    "LEASE_DURATION": ("30", 30),
    "LEASE_RENEW_DEADLINE": ("20", 20.0),
    "LEASE_RETRY_PERIOD": ("4", 4.0),
    "IDENTITY": ("pod-1", "pod-1"),
    "KUBECONFIG": ("/etc/kubeconfig", Path("/etc/kubeconfig")),
    "IMAGE_REGISTRIES": ("registry.example/iot, postgres", ("registry.example/iot", "docker.io/library/postgres")),
    "IMAGE_POSTGRES": ("registry.example.com/postgres:1", "registry.example.com/postgres:1"),
    "IMAGE_POSTGRES_EXPORTER": ("registry.example.com/pg:1", "registry.example.com/pg:1"),
    "IMAGE_MOSQUITTO": ("registry.example.com/broker:1", "registry.example.com/broker:1"),
    "IMAGE_MQTT_EXPORTER": ("registry.example.com/mqtt:1", "registry.example.com/mqtt:1"),
    "IMAGE_API": ("registry.example.com/api:1", "registry.example.com/api:1"),
    "IMAGE_DASHBOARD": ("registry.example.com/dashboard:1", "registry.example.com/dashboard:1"),
}


def test_every_setting_is_read_from_the_variable_of_its_name(read: Read) -> None:
    settings = read({variable: text for variable, (text, _) in GIVEN.items()})

    assert settings.model_dump() == {variable.lower(): value for variable, (_, value) in GIVEN.items()}


def test_an_empty_variable_counts_as_absent(read: Read) -> None:
    settings = read(dict.fromkeys(GIVEN, ""))

    assert settings == Settings.model_construct(identity=settings.identity)
    assert settings.license_jwks_path is None


def test_the_platform_has_what_the_settings_say(read: Read) -> None:
    platform = read({variable: text for variable, (text, _) in GIVEN.items()}).platform()

    assert platform.images["mqttExporter"] == "registry.example.com/mqtt:1"
    assert platform.ingress_annotations == {"example.com/size": "50m"}


@pytest.mark.parametrize(
    ("text", "annotations"),
    [
        ("example.com/size=50m", {"example.com/size": "50m"}),
        ("example.com/size = 50m\n\nauth=a=b, c", {"example.com/size": "50m", "auth": "a=b, c"}),
        (' {"a": "1", "b": ""}', {"a": "1", "b": ""}),
    ],
)
def test_annotations_are_lines_or_a_json_object(read: Read, text: str, annotations: dict[str, str]) -> None:
    assert read({"INGRESS_ANNOTATIONS": text}).ingress_annotations == annotations


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("QUEUE_CONCURRENCY", "many", "must be a whole number; it is 'many'"),
        ("QUEUE_CONCURRENCY", "1.5", "must be a whole number; it is '1.5'"),
        ("QUEUE_CONCURRENCY", "9" * 5000, "must be a whole number"),
        ("QUEUE_CONCURRENCY", "0", "must be at least 1; it is"),
        ("QUEUE_MAX_RETRIES", "0", "must be at least 1; it is"),
        ("APPLY_CONCURRENCY", "-1", "must be at least 1; it is"),
        ("QUEUE_RETRY_DELAY", "soon", "must be a number; it is 'soon'"),
        ("QUEUE_RETRY_DELAY", "0", "must be at least 0.001; it is"),
        ("QUEUE_AGE_STEP", "nan", "must be a finite number; it is 'nan'"),
        ("RESYNC_INTERVAL", "inf", "must be a finite number; it is 'inf'"),
        ("LICENSE_GRACE", "-1", "must be at least 0; it is"),
        ("QUOTA_WAIT", "-0.1", "must be at least 0; it is"),
        ("PROBE_PORT", "65536", "must be at most 65535; it is"),
        ("LEASE_DURATION", "10", "must exceed LEASE_RENEW_DEADLINE"),
        ("LEASE_RENEW_DEADLINE", "2.4", "or two replicas may lead"),
        ("LEASE_RETRY_PERIOD", "0.5", "must be at least 1; it is"),
        ("WEB_HOST_TEMPLATE", "app.{base_domain}", "must contain {name}, or all instances share one host"),
        ("WEB_HOST_TEMPLATE", "{customer}.{base_domain}", "may contain {name} and {base_domain} only"),
        ("WEB_HOST_TEMPLATE", "{name.owner}.{base_domain}", "may contain {name} and {base_domain} only"),
        ("WEB_HOST_TEMPLATE", "{name", "may contain {name} and {base_domain} only"),
        ("MQTT_HOST_TEMPLATE", "{}.{base_domain}", "may contain {name} and {base_domain} only"),
        ("MQTT_HOST_TEMPLATE", "{name}_mqtt.{base_domain}", "must give a DNS name in lower case"),
        ("MQTT_HOST_TEMPLATE", "{name}-for-the-devices-of-one-customer.{base_domain}", "must give a DNS name"),
        ("INGRESS_CLASS", "Nginx", "must be the name of an object"),
        ("CLUSTER_ISSUER", "letsencrypt_prod", "must be the name of an object"),
        ("MQTT_CERTIFICATE_ISSUER", "letsencrypt_prod", "must be the name of an object"),
        ("INGRESS_NAMESPACE", "kube.system", "must be the name of a namespace"),
        ("DNS_NAMESPACE", "Kube-System", "must be the name of a namespace"),
        ("RESERVED_HOSTS", "example.com,,example.net", "must be domains with commas between them"),
        ("RESERVED_HOSTS", "https://example.com", "must be domains with commas between them"),
        ("IMAGE_API", "iotistic/api", "must name one version, by a tag other than latest or by a digest"),
        ("IMAGE_API", "iotistic/api:latest", "must name one version"),
        ("IMAGE_API", "iotistic//api:1", "must have a repository such as"),
        ("IMAGE_REGISTRIES", "registry.example/iot/", "must have a repository such as"),
        ("CLUSTER_RANGES", "10.0.0.1/8", "10.0.0.1/8 has host bits set"),
        ("ROUTE_PROBE_ADDRESS", "router.example.com", "must be host:port"),
        ("ROUTE_PROBE_ADDRESS", "{name}:8883", "may contain {host} and {router_namespace} only; it is '{name}:8883'"),
        ("ROUTE_PROBE_ADDRESS", "Router:8883", "must name a host in lower case or an address"),
        ("ROUTE_PROBE_INTERVAL", "0", "must be at least 0.001; it is"),
        ("ROUTE_PROBE_TIMEOUT", "soon", "must be a number; it is 'soon'"),
        ("ROUTE_PROBE_CONCURRENCY", "0", "must be at least 1; it is"),
        ("FRONT_DOOR", "perhaps", "must be true or false; it is 'perhaps'"),
        ("DNS_POD_LABELS", "k8s-app", "must consist of key=value"),
        ("DNS_POD_LABELS", "k8s-app=kube dns", "must have values of at most 63 letters"),
        ("DNS_POD_LABELS", "app=a,app=b", "must name each key once"),
        ("DNS_POD_LABELS", "Example.com/app=a", "must have keys such as"),
        ("INGRESS_ANNOTATIONS", "{", "must be a JSON object of strings, or lines of key=value"),
        ("INGRESS_ANNOTATIONS", '{"a": 1}', "put numbers and booleans in quotes"),
        ("INGRESS_ANNOTATIONS", "size", "must consist of key=value"),
        ("INGRESS_ANNOTATIONS", "a=1\na=2", "must name each key once"),
        ("INGRESS_ANNOTATIONS", "a/b/c=1", "must have keys such as name or example.com/name, and 'a/b/c' is none"),
        ("INGRESS_ANNOTATIONS", "/b=1", "must have keys such as"),
        ("INGRESS_ANNOTATIONS", "iotistic.cloud/applied-hash=x", "leave keys of iotistic.cloud to the operator"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_name(read: Read, variable: str, text: str, complaint: str) -> None:
    message = refusal(read, {variable: text})

    named = "LEASE_DURATION" if "LEASE_RENEW" in variable else variable
    assert message.startswith(f"{named} ")
    assert complaint in message
    assert len(message.splitlines()) == 1
    assert len(message) < 500


@pytest.mark.parametrize("domain", ["https://example.com", "Example.com", "example.com.", "-x.com", "a b", "x" * 250])
def test_a_base_domain_that_is_no_domain_is_refused(read: Read, domain: str) -> None:
    assert refusal(read, {"BASE_DOMAIN": domain}).startswith("BASE_DOMAIN must be a DNS name in lower case")


def test_a_base_domain_that_leaves_no_room_for_hosts_is_refused(read: Read) -> None:
    message = refusal(read, {"BASE_DOMAIN": ".".join(["x" * 55] * 4)})

    assert "WEB_HOST_TEMPLATE must give a DNS name" in message


def test_a_platform_may_do_without_an_issuer(read: Read) -> None:
    assert read({"CLUSTER_ISSUER": "none"}).cluster_issuer == ""
    assert read({"MQTT_CERTIFICATE_ISSUER": "none"}).mqtt_certificate_issuer == ""


def test_any_pod_of_the_namespace_may_be_the_dns(read: Read) -> None:
    assert read({"DNS_POD_LABELS": "*"}).dns_pod_labels == {}


def test_localhost_is_a_base_domain(read: Read) -> None:
    assert read({"BASE_DOMAIN": "localhost"}).base_domain == "localhost"


def test_all_mistakes_are_told_at_once(read: Read) -> None:
    message = refusal(
        read,
        {
            "BASE_DOMAIN": "Example.com",
            "MQTT_HOST_TEMPLATE": "mqtt.{base_domain}",
            "QUEUE_CONCURRENCY": "many",
            "LEASE_DURATION": "5",
            "INGRESS_ANNOTATIONS": "example.com/auth:admin-password",
        },
    )

    assert [line.split(" ")[0] for line in message.splitlines()] == [
        "BASE_DOMAIN",
        "MQTT_HOST_TEMPLATE",
        "INGRESS_ANNOTATIONS",
        "QUEUE_CONCURRENCY",
        "LEASE_DURATION",
    ]
    assert all(" must " in line for line in message.splitlines())


def test_what_may_hold_a_password_is_never_shown(
    read: Read, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SettingInvalid) as caught:
        read({"INGRESS_ANNOTATIONS": '{"auth": "hunter2", "size": 50}'})

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "hunter2" not in repr(read({"INGRESS_ANNOTATIONS": "auth=hunter2"}))
