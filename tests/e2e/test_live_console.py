"""Pages of the console that renew themselves, in a real browser."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from playwright.async_api import Page, expect

from domain.lifecycle import TransferStatus
from infrastructure.bootstrap import running
from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.console import browser_path, chromium, served
from tests.support.ledger_view import LedgerView
from tests.support.service import LedgerCaller

BROWSER = browser_path()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
SOON = 20_000
"""Milliseconds within which news are shown: by the stream, since the timer takes 30 s."""


class Desk(NamedTuple):
    """A page on a list of transfers, and the ledger behind it."""

    page: Page
    url: str
    caller: LedgerCaller
    view: LedgerView

    async def pays(self, order: str, seller: str) -> None:
        """Pay an order, and wait until its transfer is made."""
        await self.caller.order(order, 1_000, **{seller: 800})
        await self.caller.pay(order)
        await self.view.reached(order, TransferStatus.COMPLETED)


@pytest.fixture
async def desk(
    settings: Settings, stripe: SimulatorControl, view: LedgerView, kindness: None
) -> AsyncIterator[Desk]:
    async with (
        running(settings) as service,
        served(service) as url,
        chromium(BROWSER or "") as browser,
    ):
        desk = Desk(await browser.new_page(), url, LedgerCaller(service), view)
        await desk.pays("first", "ada")
        yield desk


async def test_list_shows_news_and_leaves_people_alone(desk: Desk) -> None:
    """A typed filter stays, and no link moves away under the pointer."""
    page = desk.page
    await page.goto(f"{desk.url}/console/transfers")
    await page.get_by_label("Seller", exact=True).fill("half a na")
    await desk.pays("second", "ben")
    await expect(page.get_by_role("link", name="second")).to_be_visible(timeout=SOON)
    await expect(page.get_by_label("Seller", exact=True)).to_have_value("half a na")
    await expect(page.get_by_label("Seller", exact=True)).to_be_focused()

    await page.get_by_role("link", name="second").hover()
    await desk.pays("third", "cem")
    await expect(page.get_by_text("This page has changed.")).to_be_visible(timeout=SOON)
    await expect(page.get_by_role("link", name="third")).to_be_hidden()
    await page.get_by_role("link", name="Show it now").click()
    await expect(page.get_by_role("link", name="third")).to_be_visible()


async def test_first_page_says_when_it_cannot_renew_itself(desk: Desk) -> None:
    """Loads without a change move nothing, keep the focus, and a silent ledger is told."""
    page = desk.page
    await page.goto(f"{desk.url}/console")
    await page.get_by_role("link", name="Overview").focus()
    for _ in range(2):
        await page.evaluate(RENEWED)
    assert await page.evaluate(SHIFTS) == 0
    await expect(page.get_by_role("link", name="Overview")).to_be_focused()
    await expect(page.locator("#stale")).to_be_hidden()
    await page.get_by_role("link", name="Webhooks", exact=True).click()
    await expect(page).to_have_url(f"{desk.url}/console/inbox")
    await page.route("**/inbox", lambda route: route.abort())
    await page.evaluate(RENEW)
    await expect(page.locator("#stale")).to_contain_text("does not answer")
    await page.unroute("**/inbox")
    await page.evaluate(RENEW)
    await expect(page.locator("#stale")).to_be_hidden()


RENEW = "document.querySelector('[data-live]').dispatchEvent(new Event('news'))"
RENEWED = f"""new Promise(done => {{
    document.addEventListener("htmx:afterSettle", () => done(), {{once: true}});
    {RENEW};
}})"""
SHIFTS = """new Promise(done => {
    let sum = 0;
    new PerformanceObserver(list => list.getEntries().forEach(one => { sum += one.value; }))
        .observe({type: "layout-shift", buffered: true});
    requestAnimationFrame(() => setTimeout(() => done(sum), 100));
})"""
