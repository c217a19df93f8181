"""A browser, and the pages that it looks at."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright

from tests.services.conftest import folder, tenant
from tests.services.reference.conftest import (
    dashboard,
    reference_api,
    shared_api,
    shared_broker,
    shared_database,
    shared_server,
)

# Fixtures of other folders are seen where they are imported.
__all__ = [
    "dashboard",
    "folder",
    "page",
    "reference_api",
    "shared_api",
    "shared_broker",
    "shared_database",
    "shared_server",
    "tenant",
]

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: The sandbox needs rights that containers and root do not have; the pages are our own.
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a browser without a past; the test fails when anything on it went wrong unnoticed."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(_OPTIONS))
        made = await browser.new_page()
        made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        made.on("pageerror", lambda error: complaints.append(str(error)))
        yield made
        await browser.close()
    assert complaints == []
