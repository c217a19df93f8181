"""A structural check of values against the CRD's schema: what the API server would refuse, or silently prune."""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_CRD = Path(__file__).parents[2] / "crds" / "customerinstances.yaml"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_KNOWN = {
    *("type", "description", "default", "properties", "required", "items", "enum", "format", "pattern"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
}


@cache
def status_schema() -> dict[str, Any]:
    """Return the schema of status in the contract."""
    document = yaml.safe_load(_CRD.read_text())
    schema: dict[str, Any] = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


def violations(value: Any, schema: dict[str, Any], at: str = "status") -> Iterator[str]:
    """Yield what is wrong with a value, each with its path; a keyword this check does not know is wrong as well."""
    if unknown := set(schema) - _KNOWN:
        yield f"{at}: the check does not know {sorted(unknown)}"
    if not _has_type(value, schema["type"]):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is not one of {schema['enum']}"
    match value:
        case dict():
            yield from _object(value, schema, at)
        case list():
            yield from _array(value, schema, at)
        case str():
            yield from _string(value, schema, at)
        case bool():
            pass
        case _:
            yield from _bounds(value, schema, at, "minimum", "maximum")


def _has_type(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _object(value: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    yield from (f"{at}.{name}: unknown field, it would be pruned" for name in value if name not in properties)
    yield from (f"{at}.{name}: missing" for name in schema.get("required", ()) if name not in value)
    for name in properties.keys() & value.keys():
        yield from violations(value[name], properties[name], f"{at}.{name}")


def _array(value: list[Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    yield from _bounds(len(value), schema, at, "minItems", "maxItems")
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen = [tuple(item.get(key) for key in keys) for item in value] if keys else []
    yield from (f"{at}: {key} stands twice" for key in set(seen) if seen.count(key) > 1)
    for index, item in enumerate(value):
        yield from violations(item, schema["items"], f"{at}[{index}]")


def _string(value: str, schema: dict[str, Any], at: str) -> Iterator[str]:
    yield from _bounds(len(value), schema, at, "minLength", "maxLength")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at}: {value!r} does not match {schema['pattern']}"
    if schema.get("format") == "date-time" and not _is_time(value):
        yield f"{at}: {value!r} is no RFC 3339 time"


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return _RFC3339.fullmatch(value) is not None


def _bounds(value: float, schema: dict[str, Any], at: str, least: str, most: str) -> Iterator[str]:
    if value < schema.get(least, value):
        yield f"{at}: {value} is under {least} {schema[least]}"
    if value > schema.get(most, value):
        yield f"{at}: {value} is over {most} {schema[most]}"
