"""The console in a real browser: an operator settles troubles; every page is accessible and
quiet."""

import asyncio
import shutil
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from infrastructure.access import NamedToken, Role, sha256
from infrastructure.service import Service
from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.console import (
    HOSTILE_ORDER,
    Troubles,
    browser_path,
    chromium,
    troubled_console,
)
from tests.support.ledger_view import LedgerView
from tests.support.service import account

BROWSER = browser_path()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
AXE = "axe-core@4.14.1"
TOKEN = "the-token-of-mia"
STILL = 0.01
"""Sum of layout shifts of a page that a person does not notice; 0.1 counts as good."""
expect.set_options(timeout=30_000)


class Desk(NamedTuple):
    """A console with troubles, and a browser that looks at it."""

    url: str
    service: Service
    troubles: Troubles
    browser: Browser


@pytest.fixture
async def desk(
    settings: Settings, stripe: SimulatorControl, view: LedgerView, kindness: None
) -> AsyncIterator[Desk]:
    named = (NamedToken("mia", Role.OPERATOR, sha256(TOKEN.encode())),)
    guarded = Settings(
        **{name: getattr(settings, name) for name in settings.__slots__} | {"named_tokens": named}
    )
    async with (
        troubled_console(guarded, stripe, view) as (url, service, troubles),
        chromium(BROWSER or "") as browser,
    ):
        yield Desk(url, service, troubles, browser)


@asynccontextmanager
async def watched(context: BrowserContext) -> AsyncIterator[Page]:
    """Open a page; fail if its console shows an error."""
    noises: list[str] = []
    page = await context.new_page()
    page.on("console", lambda said: noises.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: noises.append(str(error)))
    page.on("dialog", lambda dialog: noises.append(f"dialog: {dialog.message}"))
    yield page
    assert noises == []


async def sign_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/console")
    await page.get_by_label("Token of the ledger").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("need a person")


async def act(page: Page, button: str, reason: str) -> None:
    """Open an action, give the reason, and confirm."""
    await page.get_by_role("link", name=button, exact=True).click()
    await page.get_by_label("Reason").fill(reason)
    await page.get_by_role("button", name=button, exact=True).click()


async def test_operator_settles_troubles_in_the_console(
    desk: Desk, stripe: SimulatorControl, view: LedgerView
) -> None:
    """Find a stuck transfer by its refund, read why, retry it with a reason, see it reversed; then
    replay and discard a webhook, and adopt a difference from Stripe's books."""
    async with watched(await desk.browser.new_context()) as page:
        await sign_in(page, desk.url)
        await page.keyboard.press("/")
        await page.keyboard.type("rf-poor")
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="transfer to poor").click()
        heading = page.get_by_role("heading", level=1)
        await expect(heading).to_have_text("90.00 EUR are to come back from poor.")
        await expect(page.locator(".outlook")).to_contain_text(
            "The balance of poor at Stripe is too low"
        )

        await stripe.fund("eur", 9_000, account=account("poor"))
        await act(page, "Retry now", "the seller has topped up")
        await expect(page.get_by_role("status")).to_contain_text("The retry is recorded.")
        await view.reached("poor-order", "reversed")
        await page.reload()
        await expect(heading).to_have_text("All 90.00 EUR came back from poor.")
        await expect(page.locator(".timeline")).to_contain_text("'mia' retries the transfer")

        await page.goto(f"{desk.url}/console/inbox/{desk.troubles.parked}")
        await expect(page.locator(".outlook")).to_contain_text("It waits for order:not-known")
        await act(page, "Replay", "the order should be known")
        await expect(page.get_by_role("status")).to_contain_text("The webhook is due now")
        await _parked_again(view, desk.troubles.parked)
        await page.reload()
        await act(page, "Discard", "it belongs to the old shop")
        await expect(heading).to_have_text("refund_succeeded of hyperswitch is discarded.")

        await page.get_by_role("link", name="Reconciliation").click()
        await page.get_by_role("link", name="external reversal").click()
        await act(page, "Adopt", "the support made it")
        await expect(page.locator(".outlook")).to_contain_text("Adopted by mia")


async def _parked_again(view: LedgerView, inbox_id: int) -> None:
    async def parked() -> bool:
        query = "select status from webhook_inbox where inbox_id = %s"
        return bool((await view.select(query, inbox_id))[0]["status"] == "parked")

    await view.until(parked, "the replayed webhook is parked again")


@pytest.mark.timeout(300)
async def test_pages_are_accessible_quiet_and_still(desk: Desk) -> None:
    """No error in the browser's console, no violation that axe-core finds, no layout shift, and
    nothing wider than a phone."""
    axe = await axe_source()
    for scheme, width in (("light", 1280), ("dark", 390)):
        context = await desk.browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": 844},
        )
        async with watched(context) as page:
            await sign_in(page, desk.url)
            for path in pages_of(desk.troubles):
                await page.goto(f"{desk.url}/console{path}")
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
                assert await page.evaluate(SHIFTS) < STILL, path
                await page.evaluate(axe)
                found = await page.evaluate(
                    "axe.run().then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))"
                )
                assert found == [], (path, scheme)
        await context.close()


SHIFTS = """new Promise(done => new PerformanceObserver(list => done(
    list.getEntries().reduce((sum, one) => sum + one.value, 0)))
    .observe({type: "layout-shift", buffered: true}) || setTimeout(() => done(0), 0))"""


def pages_of(troubles: Troubles) -> list[str]:
    hostile = quote(HOSTILE_ORDER, safe="")
    return [
        "", "/alarms", "/money?state=stuck", "/transfers", f"/transfers/{troubles.poor}",
        f"/transfers/{troubles.hostile}", f"/transfers/{troubles.given_up}/proof",
        f"/transfers/{troubles.given_up}/resolve", "/orders/basket", f"/orders/{hostile}", "/refunds/rf-basket",
        "/refunds/rf-odd/decide", "/sellers", "/sellers/poor", "/disputes", "/disputes/dp_1", "/inbox",
        f"/inbox/{troubles.parked}", "/findings", f"/findings/{troubles.finding}", f"/findings/{troubles.finding}/adopt", "/pauses", "/audit", "/settings", "/search?q=poor+basket+nothing", "/retry-all?status=permanently_failed", "/bulk",
    ]  # fmt: skip


async def axe_source() -> str:
    """Return axe-core, from the directory of this checkout or from the registry of npm."""
    kept = Path(__file__).parents[2] / ".data" / "axe" / "package" / "axe.min.js"
    if not kept.exists():
        await _fetch(kept.parents[1])
    return kept.read_text()


async def _fetch(directory: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core is not here, and there is no npm to fetch it")
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    fetching = await asyncio.create_subprocess_exec(
        npm,
        "pack",
        AXE,
        "--silent",
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, _ = await fetching.communicate()
    if fetching.returncode != 0:
        pytest.skip("npm could not fetch axe-core")
    with tarfile.open(directory / told.decode().split()[-1]) as package:
        package.extractall(directory, filter="data")
