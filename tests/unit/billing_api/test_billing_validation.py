from typing import Any

import pytest

from billing_api.accounts.validation import parse_login, parse_signup
from billing_api.errors import InvalidRequest

GOOD = {"email": "john@example.com", "password": "SecurePass123", "company_name": "Acme Corp"}


def _fields(document: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as raised:
        parse_signup(document)
    return [error.field for error in raised.value.errors]


def test_a_signup_is_trimmed_and_normalised() -> None:
    request = parse_signup({**GOOD, "email": " John@EXAMPLE.com ", "company_name": " Cafe\u0301 ", "full_name": None})
    assert (request.email, request.email_key) == ("John@example.com", "john@example.com")
    assert (request.company_name, request.full_name) == ("Caf\u00e9", None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("john@example.com", "JOHN@Example.COM"),
        ("john@bücher.example", "john@xn--bcher-kva.example"),
        ("straße@example.com", "STRASSE@example.com"),
        ("cafe\u0301@example.com", "CAF\u00c9@example.com"),
    ],
)
def test_addresses_that_are_the_same_share_a_key(one: str, other: str) -> None:
    keys = {parse_signup({**GOOD, "email": email}).email_key for email in (one, other)}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("email", "john", "must be an e-mail address"),
        ("email", "john@", "must be an e-mail address"),
        ("email", "a b@example.com", "must be an e-mail address"),
        ("email", "john@localhost", "must be an e-mail address"),
        ("email", "john@example.com\u0000", "must be an e-mail address"),
        ("email", "x" * 70_000 + "@example.com", "at most 254 characters"),
        ("email", 7, "must be a string"),
        ("email", None, "is required"),
        ("password", "Secure1", "at least 8 characters"),
        ("password", "x" * 73, "at most 72 bytes"),
        ("password", "é" * 37, "at most 72 bytes"),
        ("password", "SecurePass\u0000123", "NUL"),
        ("password", "SecurePass\ud800", "surrogates"),
        ("password", ["SecurePass123"], "must be a string"),
        ("company_name", "  ", "must not be empty"),
        ("company_name", "x" * 201, "at most 200 characters"),
        ("company_name", "Acme\u0000Corp", "control characters"),
        ("company_name", "Acme\nCorp", "control characters"),
        ("full_name", "", "must not be empty"),
        ("full_name", {"first": "John"}, "must be a string"),
    ],
)
def test_a_bad_field_is_named_with_what_is_wrong(field: str, value: object, why: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_signup({**GOOD, field: value})
    [error] = raised.value.errors
    assert error.field == field
    assert error.detail.startswith(field)
    assert why in error.detail
    assert "SecurePass" not in raised.value.detail


@pytest.mark.parametrize("password", ["12345678", "x" * 72, "é" * 36, "        ", "пароль-пароль"])
def test_passwords_from_eight_characters_to_72_bytes_are_taken(password: str) -> None:
    assert parse_signup({**GOOD, "password": password}).password == password


def test_every_mistake_is_reported() -> None:
    assert _fields({"password": "short", "companyName": "Acme"}) == ["companyName", "email", "password", "company_name"]


def test_an_unknown_field_is_refused_and_the_meant_one_suggested() -> None:
    with pytest.raises(InvalidRequest, match="companyName is not a known field; did you mean company_name"):
        parse_signup({**GOOD, "companyName": "Acme"})


def test_thousands_of_unknown_fields_do_not_make_thousands_of_errors() -> None:
    assert len(_fields({**GOOD, **{f"email{number}": 1 for number in range(9_000)}})) == 10


def test_a_login_leaves_judging_the_password_to_the_hash() -> None:
    request = parse_login({"email": "John@example.com", "password": "x" * 500})
    assert (request.email_key, request.password) == ("john@example.com", "x" * 500)


def test_the_password_is_not_shown_when_a_request_is_printed() -> None:
    assert "SecurePass123" not in repr(parse_signup(GOOD))
    assert "SecurePass123" not in repr(parse_login({"email": GOOD["email"], "password": GOOD["password"]}))
