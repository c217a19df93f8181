"""What the refusals of the API server mean."""

import json

import pytest

from customer_operator.errors import (
    AdmissionRefused,
    AlreadyExists,
    ClusterError,
    ClusterUnreachable,
    Conflict,
    PermissionMissing,
)
from customer_operator.kube.responses import convert

RBAC = 'secrets "x" is forbidden: User "system:serviceaccount:a:b" cannot get resource "secrets" in API group ""'
QUOTA = 'pods "x" is forbidden: exceeded quota: default, requested: pods=1, used: pods=10, limited: pods=10'
GOING = "unable to create new content in namespace customer-acme because it is being terminated"


def status(reason: str, message: str = "why") -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message}).encode()


@pytest.mark.parametrize(
    ("code", "data", "expected"),
    [
        (400, status("BadRequest"), AdmissionRefused),
        (422, status("Invalid"), AdmissionRefused),
        (403, status("Forbidden", RBAC), PermissionMissing),
        (403, status("Forbidden", QUOTA), ClusterError),
        (403, status("Forbidden", GOING), ClusterError),
        (403, b"<html>forbidden by a proxy</html>", ClusterError),
        (404, status("NotFound"), ClusterError),
        (409, status("AlreadyExists"), AlreadyExists),
        (409, status("Conflict"), Conflict),
        (409, b"", Conflict),
        (413, status("RequestEntityTooLarge"), ClusterError),
        (429, status("TooManyRequests"), ClusterUnreachable),
        (429, b"", ClusterUnreachable),
        (500, status("InternalError", "failed calling webhook"), ClusterError),
        (500, status("ServerTimeout"), ClusterUnreachable),
        (500, b"", ClusterUnreachable),
        (502, b"<html>bad gateway</html>", ClusterUnreachable),
        (503, status("ServiceUnavailable"), ClusterUnreachable),
        (504, status("Timeout"), ClusterUnreachable),
    ],
)
def test_a_refusal_is_told_apart_by_code_and_reason(code: int, data: bytes, expected: type[ClusterError]) -> None:
    error = convert(code, data, what="GET /x")

    assert type(error) is expected
    assert error.status == code


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (status("Invalid", "spec.replicas: Invalid value"), "PATCH /x: 422 spec.replicas: Invalid value"),
        (status("Invalid", ""), "PATCH /x: 422 Invalid"),
        (b"", "PATCH /x: 422 no reason given"),
        (b"\xff\xfe\xff", "PATCH /x: 422 no reason given"),
        (b"[]", "PATCH /x: 422 no reason given"),
        (b'"text"', "PATCH /x: 422 no reason given"),
        (b"null", "PATCH /x: 422 no reason given"),
    ],
)
def test_a_refusal_says_what_was_asked_and_what_was_answered(data: bytes, text: str) -> None:
    assert str(convert(422, data, what="PATCH /x")) == text
