"""`doctor --stripe`: what a Stripe account lacks before the first transfer, read from the simulator."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from application.webhooks.stripe.accounts import StripeAccounts
from infrastructure.simulators.stripe import SimulatorControl, running_simulator
from infrastructure.stripe.event_list import TYPES
from scripts.commands.stripe_account import OF_SELLERS
from tests.scripts.test_command_line import run

URL = "https://ledger.example.com/webhooks/stripe"
KEY = "sk_test_0123456789abcdef"


@pytest.fixture
async def stripe() -> AsyncIterator[SimulatorControl]:
    async with running_simulator() as (_, control):
        yield control


async def doctor(
    database_url: str, stripe: SimulatorControl, *options: str, **changes: str
) -> dict[str, tuple[bool, str]]:
    """Return the result and the detail of each check, by its name."""
    environment = {
        "DATABASE_URL": database_url, "STRIPE_API_BASE": stripe.url, "STRIPE_API_KEY": KEY,
        "STRIPE_WEBHOOK_SECRETS": "whsec_0123456789abcdef", **changes,
    }  # fmt: skip
    done = await asyncio.to_thread(run, "doctor", "--stripe", "--json", *options, **environment)
    assert KEY not in done.stdout + done.stderr
    return {line["check"]: (line["well"], line["detail"]) for line in json.loads(done.stdout)}


async def test_new_account_lacks_sellers_and_endpoints(
    database_url: str, stripe: SimulatorControl
) -> None:
    checks = await doctor(database_url, stripe, STRIPE_WEBHOOK_SECRETS="")
    assert checks["stripe key"] == (
        True, "a secret key of test mode; for production, a restricted key can do less harm",
    )  # fmt: skip
    well, detail = checks["stripe connect"]
    assert (well, "no seller's account is connected yet" in detail) == (False, True)
    well, detail = checks["stripe webhooks"]
    assert not well
    assert detail.count("no enabled endpoint") == 2
    assert "STRIPE_WEBHOOK_SECRETS is not set" in detail


async def test_complete_account_lacks_nothing(database_url: str, stripe: SimulatorControl) -> None:
    await stripe.change_account("acct_1anna")
    await stripe.add_webhook_endpoint(URL, ["whsec_1"], list(TYPES))
    await stripe.add_webhook_endpoint(URL, ["whsec_2"], list(OF_SELLERS), connect=True)
    checks = await doctor(database_url, stripe, "--seller-account", "acct_1anna")
    parts = {
        name: well for name, (well, _) in checks.items() if "stripe " in name or "acct" in name
    }
    assert parts == {
        "stripe key": True, "stripe connect": True, "stripe webhooks": True,
        "stripe balance": True, "seller's account acct_1anna": True,
    }  # fmt: skip


async def test_missing_event_types_are_named(database_url: str, stripe: SimulatorControl) -> None:
    await stripe.add_webhook_endpoint(URL, ["whsec_1"], list(TYPES[1:]))
    await stripe.add_webhook_endpoint("https://example.com/other", ["whsec_3"])
    await stripe.add_webhook_endpoint(URL, ["whsec_2"], ["*"], connect=True)
    well, detail = (await doctor(database_url, stripe))["stripe webhooks"]
    assert (well, detail) == (False, f"not subscribed to, for events of your account: {TYPES[0]}")


@pytest.mark.parametrize(
    ("account", "words"),
    [("acct_1poor", "its capability `transfers` is inactive"), ("acct_missing", "check the id")],
)
async def test_seller_who_cannot_be_paid_is_named(
    database_url: str, stripe: SimulatorControl, account: str, words: str
) -> None:
    await stripe.change_account("acct_1poor", transfers_capability="inactive")
    checks = await doctor(database_url, stripe, "--seller-account", account)
    well, detail = checks[f"seller's account {account}"]
    assert (well, words in detail) == (False, True), detail


def test_bad_account_id_is_bad_usage() -> None:
    refused = run("doctor", "--seller-account", "acct_1/../../balance")
    assert (refused.returncode, "expected an account id" in refused.stderr) == (2, True)


def test_events_of_sellers_are_those_with_a_handler() -> None:
    handlers = StripeAccounts.handlers(object.__new__(StripeAccounts))  # the names alone
    assert set(OF_SELLERS) == set(handlers) - {"payout.reconciliation_completed"}
