"""The billing API's page for people, as a browser makes it of /openapi.json, under the policy that is sent with it."""

from urllib.parse import urlsplit

from playwright.async_api import Page, Route, expect

from billing_api.http.docs import OpenApi
from tests.services.billing_api.conftest import (
    answer_seconds,
    billing,
    dsn,
    postgres,
    settings,
    signing_key,
    start,
    start_at,
)
from tests.services.billing_api.harness import Billing

# Fixtures of other folders are seen where they are imported.
__all__ = ["answer_seconds", "billing", "dsn", "postgres", "settings", "signing_key", "start", "start_at"]


async def test_every_operation_is_on_the_page_with_its_answers(page: Page, billing: Billing) -> None:
    document = billing.services.get(OpenApi).document

    async def answer(route: Route) -> None:
        response = await billing.client.get(urlsplit(route.request.url).path)
        await route.fulfill(status=response.status_code, headers=dict(response.headers), body=response.content)

    await page.route("https://billing.test/**", answer)
    await page.goto("https://billing.test/docs")

    sections = page.locator("main section")
    for path, operations in document["paths"].items():
        for method in operations:
            heading = sections.get_by_role("heading", level=2).filter(has_text=path).filter(has_text=method.upper())
            await expect(heading.first).to_be_visible()
    await expect(page.get_by_text("Reading /openapi.json")).to_have_count(0)
