"""JSON Schema from the answer classes: the document is made of what is sent."""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, get_args, get_origin

_SIMPLE: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
}


def name_of(cls: type) -> str:
    """Return the name of a class in the document."""
    return cls.__name__.removesuffix("Answer")


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type hint; a dataclass becomes a reference to its component.

    Raises:
        TypeError: the hint is none that an answer may have.
    """
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    if is_dataclass(hint):
        return {"$ref": f"#/components/schemas/{name_of(typing.cast('type', hint))}"}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return schema_of(arguments[0])
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [{"type": "null"} if part is type(None) else schema_of(part) for part in arguments]}
    raise TypeError(f"{hint!r} has no JSON Schema here")


def component(cls: type) -> dict[str, Any]:
    """Return the schema of one answer class, with the descriptions and examples of its fields."""
    properties = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        schema = schema_of(hint)
        for doc in getattr(hint, "__metadata__", ()):
            schema["description"] = doc.description
            schema |= {} if doc.example is None else {"example": doc.example}
        properties[name] = schema
    return {
        "type": "object",
        "description": (cls.__doc__ or "").strip(),
        "required": list(properties),
        "properties": properties,
    }


def classes_within(cls: type) -> Iterator[type]:
    """Yield an answer class and, once each, all classes it is made of."""
    yield cls
    for hint in typing.get_type_hints(cls).values():
        for part in (hint, *get_args(hint)):
            if is_dataclass(part):
                yield from classes_within(typing.cast("type", part))
