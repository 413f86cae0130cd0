"""Checks of a Stripe account's set-up for `doctor --stripe`: the key, Connect, webhook endpoints,
balance, and one seller's account. All of them only read.

Source of the objects: docs.stripe.com/api (accounts, balance, webhook_endpoints).
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.currency import from_stripe, in_major_units
from domain.errors import BadMoney
from domain.provider_call.outcome import LookUpFailed, NotAtStripe
from infrastructure.service import Service
from infrastructure.settings import Settings
from infrastructure.stripe.event_list import TYPES
from infrastructure.stripe.reads import PAGE, items_of
from scripts.exit_codes import fail

PATH = "/webhooks/stripe"
OF_SELLERS = (
    "account.updated", "capability.updated", "account.application.deauthorized",
    "balance.available",
    "payout.created", "payout.updated", "payout.paid", "payout.failed", "payout.canceled",
)  # fmt: skip
"""Events of connected accounts that concern a ledger."""


class SetUp(NamedTuple):
    """One part of the set-up."""

    check: str
    well: bool
    detail: str


async def stripe_account(service: Service, seller: str | None) -> list[SetUp]:
    """Check the account of the key; `seller` is the account id (`acct_…`) of a seller."""
    checks = [_key(service.settings)]
    for name, check in (("connect", _connect), ("webhooks", _webhooks), ("balance", _balance)):
        try:
            well, detail = await check(service)
        except (LookUpFailed, NotAtStripe) as unread:
            well, detail = False, f"{unread} {_REMEDIES[name]}"
        checks.append(SetUp(f"stripe {name}", well, detail))
    if seller is not None:
        checks.append(await _seller(service, seller))
    return checks


_REMEDIES = {
    "connect": "Enable Connect in Stripe's dashboard, or let the key read connected accounts.",
    "webhooks": "Let the key read webhook endpoints, or check them in Stripe's dashboard.",
    "balance": "Let the key read the balance.",
}


def require_account_id(seller: str | None) -> None:
    """Exit with 2 unless this is an account id of Stripe, or absent."""
    if seller is not None and not re.fullmatch(r"acct_[A-Za-z0-9_]{1,250}", seller):
        fail(
            f"--seller-account is {seller!r}; expected an account id of Stripe, such as acct_1abc."
        )


def _key(settings: Settings) -> SetUp:
    """Describe the key by its beginning, never by its content."""
    kind = "restricted" if (settings.stripe_api_key or "").startswith("rk_") else "secret"
    if settings.mode == "simulator":
        return SetUp("stripe key", False, "STRIPE_API_KEY is not set: this is the simulator")
    hint = "" if kind == "restricted" else "; for production, a restricted key can do less harm"
    return SetUp("stripe key", True, f"a {kind} key of {settings.mode} mode{hint}")


async def _connect(service: Service) -> tuple[bool, str]:
    """Read one connected account: Stripe refuses this to accounts without Connect."""
    accounts = items_of(await service.gateway.get_object("/v1/accounts?limit=1"))
    if not accounts:
        return False, "enabled, but no seller's account is connected yet; create a test account"
    return True, f"enabled, the newest connected account is {accounts[0].get('id')}"


async def _webhooks(service: Service) -> tuple[bool, str]:
    """Compare the endpoints whose URL ends with our path with the event types that we handle."""
    endpoints = items_of(await service.gateway.get_object(f"/v1/webhook_endpoints?limit={PAGE}"))
    ours = [
        endpoint
        for endpoint in endpoints
        if endpoint.get("status") == "enabled" and str(endpoint.get("url", "")).endswith(PATH)
    ]
    own = [endpoint for endpoint in ours if endpoint.get("application") is None]
    connected = [endpoint for endpoint in ours if endpoint.get("application") is not None]
    lacks = [
        *_lacking("your account", own, TYPES),
        *_lacking("connected accounts", connected, OF_SELLERS),
    ]
    if not service.settings.stripe_webhook_secrets:
        lacks.append("STRIPE_WEBHOOK_SECRETS is not set")
    return not lacks, "; ".join(lacks) or "all events that the ledger handles are subscribed to"


def _lacking(
    whose: str, endpoints: Sequence[Mapping[str, object]], wanted: Sequence[str]
) -> list[str]:
    if not endpoints:
        return [f"no enabled endpoint …{PATH} for events of {whose}"]
    subscribed = {name for endpoint in endpoints for name in _events_of(endpoint)}
    missing = [name for name in wanted if not {name, "*"} & subscribed]
    return [f"not subscribed to, for events of {whose}: {', '.join(missing)}"] if missing else []


def _events_of(endpoint: Mapping[str, object]) -> list[str]:
    events = endpoint.get("enabled_events")
    return [str(name) for name in events] if isinstance(events, list) else []


async def _balance(service: Service) -> tuple[bool, str]:
    """Show the platform's balance. An empty one is well: sales can fund their own transfers."""
    balance = await service.gateway.get_object("/v1/balance")
    available, pending = (_amounts(balance.get(name)) for name in ("available", "pending"))
    filled = any(digit in "123456789" for amount in available for digit in amount)
    hint = "" if filled else "; transfers without a charge wait (awaiting_funds) until it is filled"
    return True, f"available {', '.join(available)}; pending {', '.join(pending)}{hint}"


def _amounts(lines: object) -> list[str]:
    """Format the lines of a balance. A line that the ledger cannot count is shown as it is."""
    shown = []
    for line in lines if isinstance(lines, list) else []:
        amount, currency = line.get("amount"), str(line.get("currency", ""))
        try:
            shown.append(in_major_units(from_stripe(currency.upper(), int(amount)), currency))
        except (BadMoney, TypeError, ValueError):
            shown.append(f"{amount} {currency}")
    return shown or ["nothing"]


async def _seller(service: Service, account: str) -> SetUp:
    """Check that the seller's account can receive transfers."""
    name = f"seller's account {account}"
    try:
        shown = await service.gateway.get_object(f"/v1/accounts/{account}")
    except NotAtStripe:
        return SetUp(name, False, "Stripe does not know this account; check the id and the key")
    except LookUpFailed as unread:
        return SetUp(name, False, f"{unread} If the key is right, check the id.")
    capabilities, requirements = shown.get("capabilities"), shown.get("requirements")
    state = capabilities.get("transfers") if isinstance(capabilities, Mapping) else None
    due = requirements.get("currently_due") if isinstance(requirements, Mapping) else None
    if state != "active":
        missing = ", ".join(map(str, due)) if isinstance(due, list) else ""
        needs = f"; Stripe still needs {missing}" if missing else ""
        lack = f"its capability `transfers` is {state or 'not requested'}{needs}"
        return SetUp(name, False, lack)
    payouts = "" if shown.get("payouts_enabled") else "; its payouts are not enabled"
    return SetUp(name, True, f"can receive transfers{payouts}")
