"""What requests and answers are made of: pydantic models, from which the OpenAPI document is made too.

Every mistake of a request is reported, not only the first, each with the field's name. No value is ever repeated.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, ValidationError, WithJsonSchema

from billing_api.errors import FieldError, InvalidRequest

#: Looking for the field that was meant takes time, and 64 KiB hold thousands of names.
_MAX_UNKNOWN: Final = 10

# How pydantic's complaints read here, by their type.
_COMPLAINTS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_unicode": "must not contain lone surrogates",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


class RequestModel(BaseModel):
    """Base of the bodies: nothing unknown, nothing converted from another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    @property
    def account(self) -> str | None:
        """Whose account the request is about, for limits per account where there is no session; None otherwise."""
        return None


class QueryModel(BaseModel):
    """Base of the query parameters, which arrive as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Answer(BaseModel):
    """Base of the answers; what is not in the model cannot be sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _in_seconds(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


#: A time in an answer: UTC, in whole seconds.
Timestamp = Annotated[
    datetime,
    PlainSerializer(_in_seconds, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], document: Mapping[str, Any]) -> Model:
    """Return the model of a JSON object.

    Raises:
        InvalidRequest: with one entry for every mistake.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        # Not as its cause: pydantic's own text may show values.
        errors = _explain(model, error)
    raise InvalidRequest("; ".join(entry.detail for entry in errors), errors=errors)


def parse_query(model: type[Model], items: Sequence[tuple[str, str]]) -> Model:
    """Return the model of query parameters.

    Raises:
        InvalidRequest: with one entry for every mistake, among them a parameter given twice.
    """
    twice = [_shown(name) for name, count in Counter(name for name, _ in items).items() if count > 1]
    if twice:
        errors = [FieldError(name, f"{name} must be given only once") for name in twice[:_MAX_UNKNOWN]]
        raise InvalidRequest("; ".join(entry.detail for entry in errors), errors=errors)
    return parse(model, dict(items))


def _explain(model: type[BaseModel], error: ValidationError) -> list[FieldError]:
    """Put what pydantic says into our words: unknown fields first, then the others in the model's order."""
    found = error.errors(include_url=False)
    unknown = sorted(".".join(map(str, item["loc"])) for item in found if item["type"] == "extra_forbidden")
    known = list(model.model_fields)
    return [
        *(_unknown(name, known) for name in unknown[:_MAX_UNKNOWN]),
        *(_wrong(item) for item in found if item["type"] != "extra_forbidden"),
    ]


def _unknown(name: str, known: Sequence[str]) -> FieldError:
    shown = _shown(name)
    near = difflib.get_close_matches(shown.lower(), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known) or 'none here'}"
    return FieldError(shown, f"{shown} is not a known field{hint}")


def _wrong(item: Any) -> FieldError:
    field, context = ".".join(map(str, item["loc"])) or "body", item.get("ctx", {})
    kind = "missing" if item["input"] is None else item["type"]
    if kind == "string_too_short":
        least = context["min_length"]
        return FieldError(
            field, f"{field} must {'not be empty' if least == 1 else f'have at least {least} characters'}"
        )
    complaint = str(context.get("error", "")) or _COMPLAINTS.get(kind, "is not valid").format(**context)
    return FieldError(field, f"{field} {complaint}")


def _shown(name: str) -> str:
    """Return a name from a request as short ASCII text."""
    return name.encode("ascii", "backslashreplace").decode()[:64]
