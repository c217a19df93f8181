"""What the API server says is told without what customers have sent."""

import json
from typing import Any

import pytest

from billing_api.kube import refusals

LICENSE = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
SENT = {
    "apiVersion": "iotistic.cloud/v1alpha1",
    "metadata": {"name": "c1", "labels": {"app.kubernetes.io/managed-by": "billing-api"}},
    "spec": {
        "customer": {"id": "cust-1", "email": "john@example.com", "companyName": 'The "Acme"\\Söhne'},
        "license": {"key": LICENSE},
    },
}


def _status(message: str, *causes: dict[str, Any]) -> bytes:
    return json.dumps({"kind": "Status", "code": 422, "message": message, "details": {"causes": causes}}).encode()


def test_of_a_field_is_told_what_kind_of_wrong_it_is() -> None:
    # As kube-apiserver 1.36 answers.
    email = {
        "reason": "FieldValueInvalid",
        "message": 'Invalid value: "john@example.com": spec.customer.email in body should match ...',
        "field": "spec.customer.email",
    }
    name = {"reason": "FieldValueTooLong", "message": "Too long: may not be more than 200", "field": "spec.customer"}
    told = refusals.reason(_status("c1 is invalid: john@example.com", email, name, email), sent=SENT)
    assert told == "spec.customer.email: FieldValueInvalid, spec.customer: FieldValueTooLong"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("denied request: data['jwks.json'] is too long", "denied request: data['jwks.json'] is too long"),
        ('c1: "john@example.com" of cust-1', 'c1: "[...]" of [...]'),
        ('Invalid value: "The \\"Acme\\"\\\\Söhne"', 'Invalid value: "[...]"'),
        (f"a {LICENSE} b", "a [...] b"),
        (f"another's {LICENSE}x", "another's [...]x"),
        ("somebody else's eyJhbGciOiJSUzI1NiJ9.abc.def", "somebody else's [license]"),
        ("managed by billing-api", "managed by billing-api"),
        ("x" * 600, "x" * 500),
    ],
)
def test_of_a_message_is_left_out_what_was_sent(message: str, told: str) -> None:
    assert refusals.reason(_status(message), sent=SENT) == told
    assert refusals.reason(_status(message, {"message": message}), sent=SENT) == told


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"[]", b"7", b'{"details": 7}', b'{"details": {"causes": [7]}}', b"\xff"]
)
def test_of_anything_else_nothing_is_told(answer: bytes) -> None:
    assert refusals.reason(answer, sent=SENT) == ""


def test_a_value_in_another_is_left_out_with_it() -> None:
    sent = {"spec": {"a": "john", "b": ["john@example.com", {"c": 7, "d": None}]}}
    assert refusals.shown("john@example.com, john, jo", sent=sent) == "[...], [...], jo"
