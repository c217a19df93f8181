"""What the answers of the API server mean: the operator's own errors, converted in this one place."""

import json
from collections.abc import Mapping
from typing import Any

from customer_operator.errors import (
    AdmissionRefused,
    AlreadyExists,
    ClusterError,
    ClusterUnreachable,
    Conflict,
    PermissionMissing,
    VersionExpired,
)

# Reasons of a metav1.Status (k8s.io/apimachinery, types.go); none is given by a proxy in front of the API server.
_CANNOT_WORK_NOW = frozenset({"ServiceUnavailable", "TooManyRequests", "ServerTimeout", "Timeout", ""})


def convert(status: int, data: bytes, *, what: str) -> ClusterError:
    """Return the error that an answer of the API server stands for (a metav1.Status, or anything a proxy may send)."""
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    return convert_status(status, answer if isinstance(answer, dict) else {}, what=what)


def convert_status(status: int, answer: Mapping[str, Any], *, what: str) -> ClusterError:
    """Return the error that a metav1.Status stands for; `what` names the request in its text."""
    message, reason = str(answer.get("message", "")), str(answer.get("reason", ""))
    text = f"{what}: {status} {message or reason or 'no reason given'}"
    match status:
        case 401:
            # A token that has expired, and is being renewed: nobody's failure.
            return ClusterUnreachable(text, status=status)
        case 403 if reason == "Forbidden" and "cannot" in message and "User " in message:
            return PermissionMissing(text, status=status)
        case 409 if reason == "AlreadyExists":
            return AlreadyExists(text, status=status)
        case 409:
            return Conflict(text, status=status)
        case 410:
            return VersionExpired(text, status=status)
        case 400 | 422:
            return AdmissionRefused(text, status=status)
        case 429 | 500 | 502 | 503 | 504 if reason in _CANNOT_WORK_NOW:
            return ClusterUnreachable(text, status=status)
        case _:
            return ClusterError(text, status=status)
