"""The capabilities of an account that allow transfers to it.

An account needs one of three capabilities (Stripe's refusal of a transfer names all of them). An
account of the v2 API has them in its configuration `recipient`, and the v1 API shows the same
account with the v1 names.
"""

from collections.abc import Mapping
from enum import StrEnum

from application.webhooks.stripe.events import AccountObject

TRANSFERS = "transfers"
ALLOW_TRANSFERS = (TRANSFERS, "crypto_transfers", "legacy_payments")
"""Capabilities of which one is enough."""
ACTIVE = "active"
_NOT_ACTIVE = frozenset({"inactive", "pending", "unrequested", "restricted", "unsupported"})
_V2_STATUS = ("configuration", "recipient", "capabilities", "stripe_balance", "stripe_transfers")


class TransferState(StrEnum):
    """State of an account as a recipient of transfers."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not_allowed"
    UNKNOWN = "unknown"
    """It has none of the capabilities, or one in a state that the ledger does not know."""


def transfer_state(account: AccountObject) -> TransferState:
    """Return whether an account can receive transfers: by any one active capability."""
    states = capabilities_for_transfers(account).values()
    if ACTIVE in states:
        return TransferState.ALLOWED
    known = bool(states) and all(state in _NOT_ACTIVE for state in states)
    return TransferState.NOT_ALLOWED if known else TransferState.UNKNOWN


def capabilities_for_transfers(account: AccountObject) -> Mapping[str, str]:
    """Return the states of those capabilities of an account that allow transfers."""
    return {
        name: account.capabilities[name] for name in ALLOW_TRANSFERS if name in account.capabilities
    }


def v2_path(account: str) -> str:
    """Return the path of an account in the v2 API, with the configuration that it leaves out by
    default."""
    return f"/v2/core/accounts/{account}?include[0]=configuration.recipient"


def account_of_v2(account: str, shown: Mapping[str, object]) -> AccountObject:
    """Read an account of the v2 API."""
    member: object = shown
    for name in _V2_STATUS:
        member = member.get(name) if isinstance(member, Mapping) else None
    status = member.get("status") if isinstance(member, Mapping) else None
    if shown.get("closed") is True:
        status = "inactive"
    return AccountObject(account, {TRANSFERS: status} if isinstance(status, str) else {})
