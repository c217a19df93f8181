"""Reading the session's cookie from what browsers, and others, send."""

import time

import pytest
from starlette.requests import Request

from billing_api.http.cookies import Cookies


def _session(*headers: str) -> str | None:
    scope = {"type": "http", "headers": [(b"cookie", header.encode("latin-1")) for header in headers]}
    return Cookies(secure=False).session_of(Request(scope))


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ((), None),
        (("",), None),
        (("other=1",), None),
        (("billing_session=a.b-c_d",), "a.b-c_d"),
        (("other=1; billing_session=abc; billing_csrf=2",), "abc"),
        (("other=1;billing_session = abc ;more",), "abc"),
        (("billing_session=a=b",), "a=b"),
        (("my_billing_session=1; Billing_Session=2",), None),
        (("other=1", "billing_session=abc"), "abc"),
        (("billing_session",), None),
    ],
)
def test_the_session_is_found_among_the_cookies(headers: tuple[str, ...], token: str | None) -> None:
    assert (_session(*headers) or None) == token


@pytest.mark.parametrize("inner", ["\\" * 31_000, '\\"' * 15_500, "\\101" * 7_700])
def test_a_quoted_value_takes_no_longer_than_any_other(inner: str) -> None:
    began = time.process_time()
    assert _session(f'billing_session="{inner}"') is not None
    assert time.process_time() - began < 0.3
