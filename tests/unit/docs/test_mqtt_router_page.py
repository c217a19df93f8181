"""docs/mqtt-router.md says what the router and haproxy.cfg are."""

import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from hack.paths import PROJECT_ROOT
from mqtt_router.metrics import Metrics
from mqtt_router.settings import Settings

PAGE = (PROJECT_ROOT / "docs" / "mqtt-router.md").read_text(encoding="utf-8")
MANIFESTS = PROJECT_ROOT / "manifests" / "base" / "mqtt-router"
CONFIGURATION = (MANIFESTS / "haproxy.cfg").read_text(encoding="utf-8")
_OWN, _HAPROXYS = re.split(r"^Those of \[haproxy\.cfg\]", PAGE, maxsplit=1, flags=re.MULTILINE)


def rows(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) ?\|", text, re.MULTILINE))


def shown(default: object) -> str:
    if default is None:
        return ""
    return f"`{', '.join(map(str, default)) if isinstance(default, tuple) else default}`"


def test_every_setting_of_the_router_is_documented_with_its_default() -> None:
    assert rows(_OWN) == {name.upper(): shown(item.default) for name, item in Settings.model_fields.items()}


def test_every_variable_of_haproxy_is_documented_with_its_default() -> None:
    variables = dict(re.findall(r"\$\{(\w+)-([^}]*)\}", CONFIGURATION))
    documented = {name: default for name, default in rows(_HAPROXYS).items() if name in variables}

    assert len(documented) >= 6
    assert {name: f"`{variables[name]}`" for name in documented} == documented
    assert all(f"`{name}`" in _HAPROXYS for name in variables)


def test_router_and_haproxy_have_the_same_files() -> None:
    variables = dict(re.findall(r"\$\{(\w+)-([^}]*)\}", CONFIGURATION))

    assert Path(variables["ROUTER_MAP"]) == Settings.model_fields["map_file"].default
    assert Path(variables["ROUTER_SOCKET"]) == Settings.model_fields["haproxy_socket"].default


def test_what_the_manifests_set_is_a_variable_that_there_is() -> None:
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text(encoding="utf-8"))
    literals = kustomization["configMapGenerator"][0]["literals"]
    known = {*re.findall(r"\$\{(\w+)-", CONFIGURATION), *(name.upper() for name in Settings.model_fields)}

    assert literals
    assert {literal.partition("=")[0] for literal in literals} <= known


def test_every_metric_is_documented_with_its_labels() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    labels = {
        name: ", ".join(getattr(collector, "_labelnames", ()))
        for collector, names in registry._collector_to_names.items()
        for name in names
    }
    expected = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name: labels[metric.name]
        for metric in registry.collect()
    }

    assert dict(re.findall(r"^\| `(mqtt_router_\w+)` \| ?([^|]*?) ?\|", PAGE, re.MULTILINE)) == expected
