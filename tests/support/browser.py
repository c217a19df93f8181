"""A browser without a past."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: The sandbox needs rights that containers and root do not have; the pages are our own.
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@asynccontextmanager
async def new_page(*options: str, **context: Any) -> AsyncIterator[Page]:
    """Give a page of its own, with further options of the program and of Playwright's context.

    Skips the test where there is no browser, and fails it when anything on the page went wrong unnoticed.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*_OPTIONS, *options])
        made = await browser.new_page(**context)
        made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        made.on("pageerror", lambda error: complaints.append(str(error)))
        yield made
        await browser.close()
    assert complaints == []
