"""The console in a real browser: an operator settles troubles; every page is accessible and
quiet."""

import asyncio
import re
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
    HOSTILE_SELLER,
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
TOKEN, AUDITOR, CHECKOUT = (f"the-token-of-{name}" for name in ("mia", "ann", "shop"))
TOKENS = tuple(
    NamedToken(name, role, sha256(token.encode()))
    for name, role, token in (
        ("mia", Role.OPERATOR, TOKEN),
        ("ann", Role.AUDITOR, AUDITOR),
        ("shop", Role.CHECKOUT, CHECKOUT),
    )
)
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
    guarded = Settings(
        **{name: getattr(settings, name) for name in settings.__slots__} | {"named_tokens": TOKENS}
    )
    async with (
        troubled_console(guarded, stripe, view) as (url, service, troubles),
        chromium(BROWSER or "") as browser,
    ):
        yield Desk(url, service, troubles, browser)


@asynccontextmanager
async def watched(context: BrowserContext, refusals: int = 0) -> AsyncIterator[Page]:
    """Open a page; fail if its console shows an error, beside the statuses of so many refused
    forms."""
    noises: list[str] = []
    page = await context.new_page()
    page.on("console", lambda said: noises.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: noises.append(str(error)))
    page.on("dialog", lambda dialog: noises.append(f"dialog: {dialog.message}"))
    yield page
    told = [noise for noise in noises if REFUSED not in noise]
    assert (told, len(noises)) == ([], refusals)


REFUSED = "the server responded with a status of 4"


async def sign_in(page: Page, url: str, token: str = TOKEN) -> None:
    await enter(page, url, token)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("need a person")


async def enter(page: Page, url: str, token: str) -> None:
    await page.goto(f"{url}/console")
    await page.get_by_label("Token of the ledger").fill(token)
    await page.get_by_role("button", name="Sign in").click()


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
async def test_visitors_ask_look_back_and_are_refused(desk: Desk) -> None:
    """Forecast a refund, and go back in time, with and without scripts; foreign texts are text;
    wrong tokens, roles without rights, forged forms and copied cookies change nothing."""
    context = await desk.browser.new_context()
    async with watched(context) as page:
        await sign_in(page, desk.url)
        await _forecasts(page, desk)
        await _looks_back(page, desk)
        await _shows_foreign_texts(page, desk)
    await _works_without_scripts(context, desk)
    await _refuses_forged_forms(context, desk)
    await _refuses_tokens(desk)
    await _ends_with_the_sign_out(context, desk)


async def _forecasts(page: Page, desk: Desk) -> None:
    await page.goto(f"{desk.url}/console/orders/basket")
    await page.get_by_role("link", name="What would a refund take?").click()
    await page.get_by_label("Amount in EUR").fill("50.00")
    forecast = page.locator("#forecast")
    await expect(forecast).to_contain_text("Refund of 50.00 EUR: the sellers give")
    await expect(forecast).to_contain_text("for its own part of the order")
    await expect(page).to_have_url(re.compile("amount=50.00"))
    await page.get_by_label("Amount in EUR").fill("5000")
    await expect(page.get_by_role("alert")).to_contain_text("enter at most that")


async def _looks_back(page: Page, desk: Desk) -> None:
    await page.goto(f"{desk.url}/console/transfers/{desk.troubles.poor}")
    heading, back = page.get_by_role("heading", level=1), page.locator("details.as-of")
    await back.get_by_text("Show it as it was").click()
    await page.get_by_label("After step").press("Home")
    await expect(back).to_contain_text("The past. This is the transfer as it was at position")
    await expect(heading).to_have_text("90.00 EUR are not paid to poor yet.")
    await expect(back.get_by_role("row", name="Status")).to_contain_text("reversal pending")
    await expect(page.get_by_role("link", name="Retry now")).to_have_count(0)
    await page.get_by_label("After step").press("End")
    await expect(heading).to_have_text("90.00 EUR are to come back from poor.")


async def _shows_foreign_texts(page: Page, desk: Desk) -> None:
    seller, order = (quote(text, safe="") for text in (HOSTILE_SELLER, HOSTILE_ORDER))
    for path, text in (
        (f"transfers/{desk.troubles.hostile}", HOSTILE_SELLER),
        (f"orders/{order}", HOSTILE_ORDER),
        (f"orders/{order}/what-if", HOSTILE_SELLER),
        (f"sellers/{seller}", HOSTILE_ORDER),
        (f"search?q={seller}", HOSTILE_SELLER),
        (f"inbox/{desk.troubles.parked}", VISIBLE_TEXT),
        (f"findings/{desk.troubles.finding}", VISIBLE_TEXT),
        ("disputes/dp_1", VISIBLE_TEXT),
    ):
        await page.goto(f"{desk.url}/console/{path}")
        await expect(page.locator("main")).to_contain_text(text)
        assert await page.locator("main :is(img, script, b, iframe)").count() == 0, path
        assert "\u202e" not in await page.content(), path


VISIBLE_TEXT = "<img src=x onerror=alert(1)> [/bold] \\u202eevil"


async def _works_without_scripts(signed_in: BrowserContext, desk: Desk) -> None:
    plain = await desk.browser.new_context(java_script_enabled=False)
    await plain.add_cookies(await signed_in.cookies())  # type: ignore[arg-type]
    async with watched(plain) as page:
        await page.goto(f"{desk.url}/console/orders/basket/what-if")
        await page.get_by_label("Amount in EUR").fill("50.00")
        await page.get_by_role("button", name="Calculate").click()
        await expect(page.locator("#forecast")).to_contain_text("Refund of 50.00 EUR")
        await page.goto(f"{desk.url}/console/transfers/{desk.troubles.poor}?step=2")
        await page.get_by_role("link", name="Step before").click()
        await expect(page.locator("details.as-of")).to_contain_text("The past.")
        await page.get_by_role("button", name="Show the step").click()
        await expect(page.get_by_label("After step")).to_have_value("1")
    await plain.close()


async def _refuses_forged_forms(context: BrowserContext, desk: Desk) -> None:
    """Send a form with another token, and one from a page of another site."""
    head = await desk.service.store.head()
    path = f"{desk.url}/console/transfers/{desk.troubles.given_up}/retry"
    async with watched(context, refusals=2) as page:
        await page.goto(path)
        await page.evaluate("document.querySelector('main [name=form_token]').value = 'forged'")
        await page.get_by_label("Reason").fill("forged")
        await page.get_by_role("button", name="Retry now").click()
        await expect(page.locator("main")).to_contain_text("Nothing was changed")
        await page.goto("about:blank")
        await page.set_content(f'<form method="post" action="{path}"><button>Win</button></form>')
        await page.get_by_role("button", name="Win").click()
        await expect(page.locator("main")).to_contain_text("Nothing was changed")
    assert await desk.service.store.head() == head


async def _refuses_tokens(desk: Desk) -> None:
    context = await desk.browser.new_context()
    async with watched(context, refusals=3) as page:
        await enter(page, desk.url, "a-wrong-token")
        await expect(page.get_by_role("alert")).to_have_text("This is no token of the ledger.")
        await enter(page, desk.url, CHECKOUT)
        await expect(page.get_by_role("alert")).to_contain_text("may not read the ledger")
        await sign_in(page, desk.url, AUDITOR)
        await page.goto(f"{desk.url}/console/transfers/{desk.troubles.given_up}")
        await expect(page.get_by_role("link", name="Prove it")).to_be_visible()
        await expect(page.get_by_role("link", name="Retry now")).to_have_count(0)
        await page.goto(f"{desk.url}/console/transfers/{desk.troubles.given_up}/retry")
        await expect(page.locator("main")).to_contain_text("role")
    await context.close()


async def _ends_with_the_sign_out(context: BrowserContext, desk: Desk) -> None:
    copied = await desk.browser.new_context()
    await copied.add_cookies(await context.cookies())  # type: ignore[arg-type]
    async with watched(context) as page, watched(copied) as thief:
        for one in (page, thief):
            await one.goto(f"{desk.url}/console/transfers")
            await expect(one.get_by_role("heading", level=1)).to_have_text("Transfers")
        await page.get_by_role("button", name="Sign out").click()
        for one in (page, thief):
            await one.goto(f"{desk.url}/console/transfers")
            await expect(one.get_by_role("heading", level=1)).to_have_text("Sign in")
    await copied.close()


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
        f"/transfers/{troubles.given_up}/resolve", "/orders/basket", "/orders/basket/what-if?amount=10",
        f"/transfers/{troubles.poor}?step=2", f"/orders/{hostile}", "/refunds/rf-basket",
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
