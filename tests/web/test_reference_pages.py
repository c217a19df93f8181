"""The reference dashboard as a customer sees it: the way from the access token to a reading."""

import os
from pathlib import Path

from playwright.async_api import Page, expect

from tests.services.reference.conftest import Database, rows
from tests.support.mqtt import MqttClient
from tests.support.reference import OpenBroker, ReferenceApi, ReferenceDashboard
from tests.support.waiting import eventually

NARROW = {"width": 360, "height": 740}


async def sign_in(page: Page, dashboard: ReferenceDashboard, token: str) -> None:
    await page.goto(dashboard.url)
    await page.get_by_label("Access token").fill(token)
    await page.get_by_role("button", name="Sign in").click()


async def shot(page: Page, tmp_path: Path, name: str) -> None:
    """Keep a picture where SCREENSHOTS says, for people to look at."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    await page.screenshot(path=folder / f"{name}.png", full_page=True)


async def test_a_customer_registers_a_device_and_sees_its_reading_come(
    page: Page,
    dashboard: ReferenceDashboard,
    reference_api: ReferenceApi,
    shared_broker: OpenBroker,
    shared_database: Database,
    tmp_path: Path,
) -> None:
    await page.goto(dashboard.url)
    await shot(page, tmp_path, "sign-in")
    await sign_in(page, dashboard, reference_api.token)
    await expect(page.get_by_text("No devices yet")).to_be_visible()

    await page.get_by_label("Name").fill("greenhouse-1")
    await page.get_by_role("button", name="Register").click()
    await expect(page.get_by_role("heading", name="greenhouse-1 is registered")).to_be_visible()
    assert len(await page.locator("#password").inner_text()) >= 32
    await shot(page, tmp_path, "registered")

    await page.goto(dashboard.url)
    row = page.get_by_role("row").filter(has_text="greenhouse-1")
    await expect(row.get_by_text("none yet")).to_be_visible()
    with MqttClient(shared_broker.port, None) as device:
        device.publish("t/greenhouse-1/temperature", "21.5")
        device.publish("t/greenhouse-1/humidity", "63")
    await eventually(lambda: len(rows(shared_database, "greenhouse-1")) == 2)

    # By itself: nobody loads the page again.
    await expect(row.get_by_text("temperature 21.5")).to_be_visible(timeout=30_000)
    await shot(page, tmp_path, "devices")
    await page.get_by_role("link", name="greenhouse-1").click()
    await expect(page.get_by_role("cell", name="63", exact=True)).to_be_visible()
    await shot(page, tmp_path, "device")


async def test_a_device_goes_when_its_deletion_is_confirmed(
    page: Page, dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    reference_api.register("meter")
    await sign_in(page, dashboard, reference_api.token)

    await page.get_by_text("Delete", exact=True).click()
    await page.get_by_role("button", name="Delete with all readings").click()

    await expect(page.get_by_text("No devices yet")).to_be_visible()


async def test_whoever_signs_out_has_to_sign_in_again(
    page: Page, dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    await sign_in(page, dashboard, reference_api.token)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Access token")).to_be_visible()

    await page.goto(dashboard.url)

    await expect(page.get_by_label("Access token")).to_be_visible()


async def test_a_page_fits_a_telephone(
    page: Page, dashboard: ReferenceDashboard, reference_api: ReferenceApi, tmp_path: Path
) -> None:
    reference_api.register("a-name-of-some-length-that-nobody-would-shorten")
    await page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    await sign_in(page, dashboard, reference_api.token)
    await expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    await shot(page, tmp_path, "narrow")

    assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
