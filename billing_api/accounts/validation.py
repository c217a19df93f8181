"""What a request body may contain: one table of fields per endpoint, used to check it and to document it.

Every mistake is reported, not only the first, each with the field's name. No value is ever repeated back.
"""

import difflib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from email_validator import EmailNotValidError, validate_email

from billing_api.accounts.passwords import MAX_BYTES
from billing_api.errors import FieldError, InvalidRequest

#: Lengths as the CustomerInstance CRD has them (spec.customer), so that no accepted signup is refused there.
_MAX_EMAIL = 254
_MAX_NAME = 200
#: NIST SP 800-63B section 3.1.1.2 and requirements 002: eight characters or more.
_MIN_PASSWORD = 8
#: Looking for the field that was meant takes time, and 64 KiB hold thousands of names.
_MAX_UNKNOWN = 10


@dataclass(frozen=True, kw_only=True)
class SignupRequest:
    """A checked signup: text in Unicode form NFC, trimmed.

    Attributes:
        email_key: the address in the form in which no two accounts may share it: case folded, domain in ASCII.
    """

    email: str
    email_key: str
    password: str = field(repr=False)
    company_name: str
    full_name: str | None


@dataclass(frozen=True, kw_only=True)
class LoginRequest:
    """A checked login; see SignupRequest."""

    email_key: str
    password: str = field(repr=False)


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
    if len(text) > _MAX_EMAIL:
        raise ValueError(f"must have at most {_MAX_EMAIL} characters")
    try:
        checked = validate_email(text.strip(), check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError("must be an e-mail address such as john@example.com") from error
    return checked.normalized, f"{checked.local_part.casefold()}@{checked.ascii_domain}"


def _name(text: str) -> str:
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise ValueError("must not be empty")
    if len(name) > _MAX_NAME:
        raise ValueError(f"must have at most {_MAX_NAME} characters")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise ValueError("must not contain control characters")
    return name


def _new_password(text: str) -> str:
    password = _any_password(text)
    if len(password) < _MIN_PASSWORD:
        raise ValueError(f"must have at least {_MIN_PASSWORD} characters")
    if len(password.encode()) > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes in UTF-8")
    return password


def _any_password(text: str) -> str:
    # The same password typed on another system may arrive decomposed (RFC 8265 section 4.2.2: NFC).
    password = unicodedata.normalize("NFC", text)
    if not password:
        raise ValueError("must not be empty")
    if "\0" in password:
        raise ValueError("must not contain NUL characters")
    return password


_EMAIL_SCHEMA = {"type": "string", "format": "email", "maxLength": _MAX_EMAIL, "example": "john@example.com"}
_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": _MAX_NAME}

SIGNUP_FIELDS: tuple[Field, ...] = (
    Field(
        name="email",
        check=_email,
        schema={**_EMAIL_SCHEMA, "description": "Unique regardless of case. The address to log in with."},
    ),
    Field(
        name="password",
        check=_new_password,
        schema={
            "type": "string",
            "format": "password",
            "minLength": _MIN_PASSWORD,
            "maxLength": MAX_BYTES,
            "description": f"{_MIN_PASSWORD} characters to {MAX_BYTES} bytes in UTF-8.",
            "example": "SecurePass123",
        },
    ),
    Field(
        name="company_name",
        check=_name,
        schema={**_NAME_SCHEMA, "description": "As the dashboard shows it.", "example": "Acme Corp"},
    ),
    Field(
        name="full_name",
        check=_name,
        required=False,
        schema={**_NAME_SCHEMA, "description": "Whom to address; may be left out.", "example": "John Doe"},
    ),
)

LOGIN_FIELDS: tuple[Field, ...] = (
    Field(name="email", check=_email, schema={**_EMAIL_SCHEMA, "description": "The address signed up with."}),
    Field(
        name="password",
        check=_any_password,
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
    if any(unicodedata.category(character) == "Cs" for character in value):
        raise ValueError("must not contain lone surrogates")
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
