"""Buyers' payments as sources of transfers: the rest of each, and the time at which its money
becomes available."""

import re
from heapq import heappush
from typing import Any

from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.stripe.balances import OUTSIDE, BalanceKey
from infrastructure.simulators.stripe.books import SimulatedStripeBooks
from infrastructure.simulators.stripe.errors import money_text
from infrastructure.simulators.stripe.manners import DAY
from infrastructure.simulators.stripe.rows import ChargeRow

PLAUSIBLE_CHARGE = re.compile(r"(ch|py)_[A-Za-z0-9_]{1,250}")


def register_charge(
    books: SimulatedStripeBooks,
    id_: str,
    currency: str,
    amount: int | None,
    transfer_group: str | None = None,
    available_in: float | None = None,
    **details: Any,
) -> ChargeRow:
    """Add a payment. The platform gets its money, available after `available_in` seconds of
    simulated time, by default when the manners say.

    `details` are further fields of the row. Raises ValueError when the id is taken.
    """
    if books.charges.get(id_) is not None:
        raise ValueError(f"there is already a charge {id_!r}; choose another id")
    now = books.clock.seconds()
    if available_in is None:
        available_in = books.manners.pending_days * DAY
    charge = ChargeRow(
        id=id_,
        seq=books.charges.next_seq(),
        created=now,
        currency=currency,
        amount=amount,
        available_on=now + int(available_in),
        transfer_group=transfer_group,
        settled=available_in <= 0,
        **details,
    )
    if charge.balance_transaction is None and amount is not None:
        line = books.add_transaction("charge", amount, currency, id_, charge.available_on)
        charge.balance_transaction = line.id
    key = books.platform_balance(currency, bucket_of(charge))
    books.balances.move(amount or 0, BalanceKey(OUTSIDE, currency), key)
    if not charge.settled:
        heappush(books.maturing, (charge.available_on, id_))
    return books.charges.add(charge)


def find_charge(books: SimulatedStripeBooks, id_: str, currency: str) -> ChargeRow:
    """Return the charge, created on first use if `auto_charges` is set. Raises Refusal when there
    is none."""
    charge = books.charges.get(id_)
    if (
        charge is None
        and books.config.auto_charges
        and "missing" not in id_
        and PLAUSIBLE_CHARGE.fullmatch(id_)
    ):
        charge = register_charge(books, id_, currency, None)
    if charge is None:
        raise Refusal("no_such_charge", id=id_)
    return charge


def fail_charge(books: SimulatedStripeBooks, charge: ChargeRow) -> None:
    """Let an asynchronous payment fail: its money leaves the platform, its transfers stay."""
    if charge.status == "failed":
        return
    key = books.platform_balance(charge.currency, bucket_of(charge))
    books.balances.move(charge.amount or 0, key, BalanceKey(OUTSIDE, charge.currency))
    charge.status = "failed"
    books.charges.save(charge)


def bucket_of(charge: ChargeRow) -> str:
    return "available" if charge.settled else "pending"


def group_of(charge: ChargeRow) -> str | None:
    """Return the group that Stripe sets for transfers from this charge, in place of the caller's
    [D, W]; None if it sets none."""
    if charge.transfer_group is None and charge.payment_intent is not None:
        return f"group_{charge.payment_intent}"
    return charge.transfer_group


def check_source(charge: ChargeRow, amount: int, currency: str) -> None:
    """Check that the charge covers this transfer. Raises Refusal. Reversals give nothing back to
    the charge [G]."""
    if charge.status == "failed":
        raise Refusal("source_failed", id=charge.id)
    if charge.currency != currency:
        raise Refusal("source_currency_differs", charge_currency=charge.currency, currency=currency)
    if charge.amount is not None and charge.transferred + amount > charge.amount:
        charged, used = (
            money_text(charge.amount, currency),
            money_text(charge.transferred, currency),
        )
        raise Refusal("source_overspent", charged=charged, used=used)


def use_source(
    books: SimulatedStripeBooks, charge: ChargeRow, transfer_id: str, amount: int
) -> None:
    if charge.amount is None:
        books.balances.move(
            amount,
            BalanceKey(OUTSIDE, charge.currency),
            books.platform_balance(charge.currency, bucket_of(charge)),
        )
    charge.transferred += amount
    charge.transfers.append(transfer_id)
    books.charges.save(charge)
