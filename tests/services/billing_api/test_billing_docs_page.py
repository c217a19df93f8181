"""The page for people."""

import base64
import hashlib
import json
import re

from billing_api.http.docs import OpenApi
from tests.services.billing_api.harness import Billing


async def test_the_page_may_run_its_own_script_and_style_and_nothing_else(billing: Billing) -> None:
    response = await billing.client.get("/docs")
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
    for element in ("script", "style"):
        [inline] = re.findall(f"<{element}>(.*?)</{element}>", response.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[f"{element}-src"] == f"'sha256-{digest}'"


async def test_the_page_needs_nothing_from_any_other_host(billing: Billing) -> None:
    page = (await billing.client.get("/docs")).text
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", page)
    assert re.findall(r"(?:src|href)=[\"']([^\"']+)", page) == ["/openapi.json", "/openapi.json"]


async def test_the_document_is_written_once_for_all_who_ask(billing: Billing) -> None:
    document = billing.services.get(OpenApi)
    answers = [(await billing.client.get("/openapi.json")).content for _ in range(2)]
    assert [json.loads(answer) for answer in answers] == [document.document] * 2
    assert document.text is document.text
    assert document.text == answers[0]
