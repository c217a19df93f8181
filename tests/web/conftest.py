"""A browser, and the pages that it looks at."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page

from tests.services.conftest import folder, tenant
from tests.services.reference.conftest import (
    dashboard,
    reference_api,
    shared_api,
    shared_broker,
    shared_database,
    shared_server,
)
from tests.support.browser import new_page

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


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a browser without a past; the test fails when anything on it went wrong unnoticed."""
    async with new_page() as made:
        yield made
