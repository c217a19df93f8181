from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import pytest
from pydantic import Field

from billing_api.accounts.models import LoginRequest, SignupRequest
from billing_api.errors import InvalidRequest
from billing_api.http.models import Answer, QueryModel, Timestamp, parse, parse_query

GOOD = {"email": "john@example.com", "password": "SecurePass123", "company_name": "Acme Corp"}


def _fields(document: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as raised:
        parse(SignupRequest, document)
    return [error.field for error in raised.value.errors]


def test_a_signup_is_trimmed_and_normalised() -> None:
    request = parse(
        SignupRequest, {**GOOD, "email": " John@EXAMPLE.com ", "company_name": " Cafe\u0301 ", "full_name": None}
    )
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
    keys = {parse(SignupRequest, {**GOOD, "email": email}).email_key for email in (one, other)}
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
        parse(SignupRequest, {**GOOD, field: value})
    [error] = raised.value.errors
    assert error.field == field
    assert error.detail.startswith(field)
    assert why in error.detail
    assert "SecurePass" not in raised.value.detail


@pytest.mark.parametrize("password", ["12345678", "x" * 72, "é" * 36, "        ", "пароль-пароль"])
def test_passwords_from_eight_characters_to_72_bytes_are_taken(password: str) -> None:
    assert parse(SignupRequest, {**GOOD, "password": password}).password == password


def test_every_mistake_is_reported() -> None:
    assert _fields({"password": "short", "companyName": "Acme"}) == ["companyName", "email", "password", "company_name"]


def test_an_unknown_field_is_refused_and_the_meant_one_suggested() -> None:
    with pytest.raises(InvalidRequest, match="companyName is not a known field; did you mean company_name"):
        parse(SignupRequest, {**GOOD, "companyName": "Acme"})


def test_thousands_of_unknown_fields_do_not_make_thousands_of_errors() -> None:
    assert len(_fields({**GOOD, **{f"email{number}": 1 for number in range(9_000)}})) == 10


def test_a_login_leaves_judging_the_password_to_the_hash() -> None:
    request = parse(LoginRequest, {"email": "John@example.com", "password": "x" * 500})
    assert (request.email_key, request.password) == ("john@example.com", "x" * 500)


def test_the_password_is_not_shown_when_a_request_is_printed() -> None:
    assert "SecurePass123" not in repr(parse(SignupRequest, GOOD))
    assert "SecurePass123" not in repr(parse(LoginRequest, {"email": GOOD["email"], "password": GOOD["password"]}))


class _Page(QueryModel):
    limit: int = Field(20, ge=1, le=100)
    state: Literal["active", "failed"] | None = None


def test_query_parameters_arrive_with_their_types() -> None:
    page = parse_query(_Page, [("limit", "50"), ("state", "failed")])
    assert (page.limit, page.state) == (50, "failed")


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([("limit", "many")], "limit must be a whole number"),
        ([("limit", "0")], "limit must be at least 1"),
        ([("limit", "101")], "limit must be at most 100"),
        ([("limit", "1"), ("limit", "2")], "limit must be given only once"),
        ([("state", "secret")], "state must be one of 'active' or 'failed'"),
        ([("Limit", "1")], "Limit is not a known field; did you mean limit?"),
    ],
)
def test_a_bad_query_parameter_is_named_with_what_is_wrong(items: list[tuple[str, str]], why: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_query(_Page, items)
    assert raised.value.detail == why
    assert "secret" not in raised.value.detail


def test_what_is_sent_has_times_in_utc_and_whole_seconds() -> None:
    class Answered(Answer):
        at: Timestamp | None

    berlin = datetime(2025, 11, 5, 1, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert Answered(at=berlin).model_dump_json() == '{"at":"2025-11-05T00:00:00Z"}'
    assert Answered(at=None).model_dump_json() == '{"at":null}'
