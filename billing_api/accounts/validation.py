"""What a request body may contain: one table of fields per endpoint, used to check it and to document it.

Every mistake is reported, not only the first, each with the field's name. No value is ever repeated back.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing_api.accounts import names
from billing_api.accounts.passwords import MAX_BYTES
from billing_api.accounts.requests import LoginRequest, SignupRequest
from billing_api.errors import FieldError, InvalidRequest

#: Looking for the field that was meant takes time, and 64 KiB hold thousands of names.
_MAX_UNKNOWN = 10


@dataclass(frozen=True, kw_only=True)
class Field:
    """One member of a JSON body.

    Attributes:
        check: takes the text and returns it in its normal form; raises ValueError with what is wrong.
        schema: how OpenAPI describes it.
    """

    name: str
    check: Callable[[str], Any]
    schema: Mapping[str, Any]
    required: bool = True


def _email(text: str) -> tuple[str, str]:
    return names.email(text), names.email_key(text)


_EMAIL_SCHEMA = {"type": "string", "format": "email", "maxLength": names.MAX_EMAIL, "example": "john@example.com"}
_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": names.MAX_NAME}

SIGNUP_FIELDS: tuple[Field, ...] = (
    Field(
        name="email",
        check=_email,
        schema={**_EMAIL_SCHEMA, "description": "Unique regardless of case. The address to log in with."},
    ),
    Field(
        name="password",
        check=names.new_password,
        schema={
            "type": "string",
            "format": "password",
            "minLength": names.MIN_PASSWORD,
            "maxLength": MAX_BYTES,
            "description": f"{names.MIN_PASSWORD} characters to {MAX_BYTES} bytes in UTF-8.",
            "example": "SecurePass123",
        },
    ),
    Field(
        name="company_name",
        check=names.name,
        schema={**_NAME_SCHEMA, "description": "As the dashboard shows it.", "example": "Acme Corp"},
    ),
    Field(
        name="full_name",
        check=names.name,
        required=False,
        schema={**_NAME_SCHEMA, "description": "Whom to address; may be left out.", "example": "John Doe"},
    ),
)

LOGIN_FIELDS: tuple[Field, ...] = (
    Field(name="email", check=_email, schema={**_EMAIL_SCHEMA, "description": "The address signed up with."}),
    Field(
        name="password",
        check=names.password,
        schema={"type": "string", "format": "password", "minLength": 1, "example": "SecurePass123"},
    ),
)


def parse_signup(document: Mapping[str, Any]) -> SignupRequest:
    """Check the body of a signup.

    Raises:
        InvalidRequest: with one entry for every mistake.
    """
    values = _check(SIGNUP_FIELDS, document)
    email, email_key = values["email"]
    return SignupRequest(
        email=email,
        email_key=email_key,
        password=values["password"],
        company_name=values["company_name"],
        full_name=values.get("full_name"),
    )


def parse_login(document: Mapping[str, Any]) -> LoginRequest:
    """Check the body of a login. A password that could never be right is not an error here, only wrong.

    Raises:
        InvalidRequest: with one entry for every mistake.
    """
    values = _check(LOGIN_FIELDS, document)
    return LoginRequest(email_key=values["email"][1], password=values["password"])


def _check(table: Sequence[Field], document: Mapping[str, Any]) -> dict[str, Any]:
    errors = _unknown(table, document)
    values: dict[str, Any] = {}
    for entry in table:
        value = document.get(entry.name)
        if value is None:
            if entry.required:
                errors.append(FieldError(entry.name, f"{entry.name} is required"))
            continue
        try:
            values[entry.name] = entry.check(_text(value))
        except ValueError as error:
            errors.append(FieldError(entry.name, f"{entry.name} {error}"))
    if errors:
        raise InvalidRequest("; ".join(error.detail for error in errors), errors=errors)
    return values


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _unknown(table: Sequence[Field], document: Mapping[str, Any]) -> list[FieldError]:
    known = [entry.name for entry in table]
    errors = []
    for name in sorted(set(document) - set(known))[:_MAX_UNKNOWN]:
        shown = name.encode("ascii", "backslashreplace").decode()[:64]
        near = difflib.get_close_matches(shown.lower(), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
        errors.append(FieldError(shown, f"{shown} is not a known field{hint}"))
    return errors
