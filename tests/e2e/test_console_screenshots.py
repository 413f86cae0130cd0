"""Pictures of every page of the console, on demand:

`CONSOLE_SCREENSHOTS=<directory> python -m pytest tests/e2e/test_console_screenshots.py`
"""

import os
import re
from pathlib import Path

import psycopg
import pytest
from playwright.async_api import Browser

from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.test_console_in_browser import BROWSER, pages_of
from tests.infrastructure.postgres.test_read_only_server import read_only
from tests.support.console import Troubles, chromium, troubled_console
from tests.support.ledger_view import LedgerView
from tests.support.service import LedgerCaller

DIRECTORY = os.environ.get("CONSOLE_SCREENSHOTS", "")
pytestmark = [
    pytest.mark.skipif(not DIRECTORY, reason="CONSOLE_SCREENSHOTS names no directory"),
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine"),
    pytest.mark.timeout(900),
]
LOOKS = {"light": ("light", 1280), "dark": ("dark", 1280), "phone": ("light", 390)}
END_SESSIONS = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where pid <> pg_backend_pid() and datname = current_database() "
    "and query not like 'alter database%'"  # the session that ends the trouble
)


async def test_every_page_is_taken(
    settings: Settings,
    stripe: SimulatorControl,
    view: LedgerView,
    kindness: None,
    database_url: str,
) -> None:
    async with (
        troubled_console(settings, stripe, view) as (url, service, troubles),
        chromium(BROWSER or "") as browser,
    ):
        for number, path in enumerate(more_pages(troubles), 1):
            words = re.sub(r"[^a-z]+", "-", path.lower())[:40].strip("-")
            await take(browser, url, path, f"{number:02}-{words or 'overview'}")
        await refuse_the_key(LedgerCaller(service), stripe, view)
        await take(browser, url, "", "overview-wrong-key")
        with read_only(database_url):
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute(END_SESSIONS)
            await take(browser, url, "", "overview-cannot-write")


def more_pages(troubles: Troubles) -> list[str]:
    more = ["/retry-all?status=permanently_failed", "/bulk", f"/inbox/{troubles.parked}/discard"]
    return [*pages_of(troubles), *more]


async def take(browser: Browser, url: str, path: str, name: str) -> None:
    """Take a page in each look."""
    for look, (scheme, width) in LOOKS.items():
        context = await browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": 844},
        )
        page = await context.new_page()
        await page.goto(f"{url}/console{path}")
        target = Path(DIRECTORY) / f"{name}-{look}.png"
        await page.screenshot(path=target, full_page=True)
        await context.close()


async def refuse_the_key(caller: LedgerCaller, stripe: SimulatorControl, view: LedgerView) -> None:
    """Let Stripe refuse the key, and wait until an alarm says so."""
    await stripe.fault("status", "*", status=401)
    await caller.order("late", 2_000, kay=1_500)
    await caller.pay("late")

    async def known() -> bool:
        rows = await view.select("select kind from alarms where kind = 'stripe_refuses_the_key'")
        return bool(rows)

    await view.until(known, "the refused key is an alarm")
