"""Sellers' accounts, and the movements of money that are neither transfers nor reversals."""

import re
from dataclasses import asdict
from typing import Any

from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.stripe.balances import OUTSIDE, PLATFORM, BalanceKey
from infrastructure.simulators.stripe.books import SimulatedStripeBooks
from infrastructure.simulators.stripe.render import (
    account_json,
    balance_json,
    capability_json,
    payout_json,
)
from infrastructure.simulators.stripe.rows import AccountRow

PLAUSIBLE_ACCOUNT = re.compile(r"acct_[A-Za-z0-9_]{1,250}")
CHANGEABLE = frozenset(asdict(AccountRow("", 0, 0))) - {"id", "seq", "created"}


def find_account(books: SimulatedStripeBooks, id_: str) -> AccountRow | None:
    """Return the account, opened on first use if `auto_accounts` is set, or None for an account
    that Stripe does not have."""
    account = books.accounts.get(id_)
    if (
        account is None
        and books.config.auto_accounts
        and "missing" not in id_
        and PLAUSIBLE_ACCOUNT.fullmatch(id_)
    ):
        account = open_account(books, id_)
    return None if account is None or account.deleted else account


def open_account(books: SimulatedStripeBooks, id_: str) -> AccountRow:
    return books.accounts.add(
        AccountRow(
            id=id_,
            seq=books.accounts.next_seq(),
            created=books.clock.seconds(),
            connected_reserves=books.config.connected_reserves,
        )
    )


def accessible_account(books: SimulatedStripeBooks, id_: str, key: str) -> AccountRow:
    """Return the account in the Stripe-Account header. Raises Refusal when the account is gone or
    has revoked the access."""
    account = find_account(books, id_)
    if account is None or account.revoked:
        raise Refusal("account_not_accessible", account=id_, key=key)
    return account


def change_account(books: SimulatedStripeBooks, id_: str, changes: dict[str, Any]) -> AccountRow:
    """Open or change an account and announce the change. Raises ValueError on a bad id or an
    unknown field."""
    unknown = set(changes) - CHANGEABLE
    if unknown:
        raise ValueError(f"an account has no {sorted(unknown)}; change one of {sorted(CHANGEABLE)}")
    if not PLAUSIBLE_ACCOUNT.fullmatch(id_):
        raise ValueError(f"{id_!r} is no account id; use acct_ followed by letters and digits")
    account = books.accounts.get(id_) or open_account(books, id_)
    before = asdict(account)
    for name, value in changes.items():
        setattr(account, name, value)
    books.accounts.save(account)
    _announce_change(
        books, account, {name: before[name] for name in changes if before[name] != changes[name]}
    )
    return account


def _announce_change(
    books: SimulatedStripeBooks, account: AccountRow, before: dict[str, Any]
) -> None:
    if not before:
        return
    if "transfers_capability" in before:
        previous = {"status": before.pop("transfers_capability")}
        books.announce(
            "capability.updated", capability_json(account), previous=previous, account=account.id
        )
    if before.get("revoked") is False:
        application = {
            "id": "ca_1Qsimulator",
            "object": "application",
            "name": "Simulated platform",
        }
        books.announce("account.application.deauthorized", application, account=account.id)
    books.announce(
        "account.updated", account_json(account), previous=before or None, account=account.id
    )


def balance_of(
    books: SimulatedStripeBooks, holder: str, currency: str, bucket: str = "available"
) -> BalanceKey:
    """Return the key of the holder's balance. Raises ValueError when there is no such account."""
    if holder == PLATFORM:
        return books.platform_balance(currency, bucket)
    if find_account(books, holder) is None:
        raise ValueError(f"there is no account {holder!r}; create it with POST /_sim/accounts")
    return BalanceKey(holder, currency, bucket)


def fund(
    books: SimulatedStripeBooks, holder: str, currency: str, amount: int, bucket: str = "available"
) -> int:
    """Move money in from outside. Returns the new amount."""
    key = balance_of(books, holder, currency, bucket)
    books.balances.move(amount, BalanceKey(OUTSIDE, currency), key)
    if bucket == "available":
        account = None if holder == PLATFORM else holder
        books.announce("balance.available", balance_json(books, holder), account=account)
    return books.balances.amount(key)


def drain(
    books: SimulatedStripeBooks, holder: str, currency: str, amount: int | None = None
) -> int:
    """Move money out: `amount`, or all that is available. Returns the rest."""
    key = balance_of(books, holder, currency)
    taken = max(books.balances.amount(key), 0) if amount is None else amount
    books.balances.move(taken, key, BalanceKey(OUTSIDE, currency))
    return books.balances.amount(key)


def pay_out(
    books: SimulatedStripeBooks, account: str, currency: str, amount: int | None = None
) -> dict[str, Any]:
    """Pay the holder's available money out to a bank. A reversal then finds no money."""
    key = balance_of(books, account, currency)
    paid = books.balances.amount(key) if amount is None else amount
    if not 0 < paid <= books.balances.amount(key):
        raise ValueError(
            f"{account} cannot pay out {paid} {currency}: {books.balances.amount(key)} is available"
        )
    books.balances.move(paid, key, BalanceKey(OUTSIDE, currency))
    payout = payout_json(books, books.ids.next("po"), paid, currency)
    origin = None if account == PLATFORM else account
    books.announce("payout.created", payout | {"status": "pending"}, account=origin)
    books.announce("payout.paid", payout, account=origin)
    return payout
