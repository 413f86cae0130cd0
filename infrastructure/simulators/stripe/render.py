"""Rows as the JSON that Stripe's API answers."""

from collections.abc import Sequence
from typing import Any

import orjson

from infrastructure.simulators.stripe.balances import PLATFORM
from infrastructure.simulators.stripe.books import SimulatedStripeBooks
from infrastructure.simulators.stripe.rows import (
    AccountRow,
    BalanceTransactionRow,
    ChargeRow,
    PaymentIntentRow,
    StripeEventRow,
    TransferReversalRow,
    TransferRow,
)

EMBEDDED_REVERSALS = 10

Json = dict[str, Any]


def transfer_json(
    books: SimulatedStripeBooks, transfer: TransferRow, expand: Sequence[str] = ()
) -> Json:
    url = f"/v1/transfers/{transfer.id}/reversals"
    newest = [
        books.reversals.by_id[id_] for id_ in transfer.reversals[: -EMBEDDED_REVERSALS - 1 : -1]
    ]
    return {
        "id": transfer.id,
        "object": "transfer",
        "amount": transfer.amount,
        "amount_reversed": transfer.amount_reversed,
        "balance_transaction": _linked(
            books, "balance_transaction", transfer.balance_transaction, expand
        ),
        "created": transfer.created,
        "currency": transfer.currency,
        "description": transfer.description,
        "destination": _linked(books, "destination", transfer.destination, expand),
        "destination_payment": transfer.destination_payment,
        "livemode": books.config.livemode,
        "metadata": transfer.metadata,
        "reversals": {
            "object": "list",
            "data": [reversal_json(books, reversal) for reversal in newest],
            "has_more": len(transfer.reversals) > EMBEDDED_REVERSALS,
            "total_count": len(transfer.reversals),
            "url": url,
        },
        "reversed": transfer.amount_reversed == transfer.amount,
        "source_transaction": transfer.source_transaction,
        "source_type": transfer.source_type,
        "transfer_group": transfer.transfer_group,
    }


def reversal_json(
    books: SimulatedStripeBooks, reversal: TransferReversalRow, expand: Sequence[str] = ()
) -> Json:
    status: Json = {} if reversal.status is None else {"status": reversal.status}
    if reversal.failure_reason is not None:
        status["failure_reason"] = reversal.failure_reason
    return status | {
        "id": reversal.id,
        "object": "transfer_reversal",
        "amount": reversal.amount,
        "balance_transaction": _linked(
            books, "balance_transaction", reversal.balance_transaction, expand
        ),
        "created": reversal.created,
        "currency": reversal.currency,
        "destination_payment_refund": reversal.destination_payment_refund,
        "metadata": reversal.metadata,
        "source_refund": reversal.source_refund,
        "transfer": _linked(books, "transfer", reversal.transfer, expand),
    }


def payment_refund_json(
    books: SimulatedStripeBooks, transfer: TransferRow, reversal: TransferReversalRow
) -> Json:
    """Return the refund of the seller's payment that belongs to a reversal. The seller does not see
    our metadata [W]."""
    return {
        "id": reversal.destination_payment_refund,
        "object": "refund",
        "amount": reversal.amount,
        "balance_transaction": books.ids.next("txn"),
        "charge": transfer.destination_payment,
        "created": reversal.created,
        "currency": reversal.currency,
        "metadata": {},
        "payment_intent": None,
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": reversal.id,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def charge_json(books: SimulatedStripeBooks, charge: ChargeRow, expand: Sequence[str] = ()) -> Json:
    amount = charge.amount if charge.paid_amount is None else charge.paid_amount
    line = charge.balance_transaction
    return {
        "id": charge.id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount if charge.status == "succeeded" else 0,
        "amount_refunded": 0,
        "balance_transaction": (
            _linked(books, "balance_transaction", line, expand) if line is not None else None
        ),
        "captured": charge.status == "succeeded",
        "created": charge.created,
        "currency": charge.paid_currency or charge.currency,
        "disputed": False,
        "livemode": books.config.livemode,
        "metadata": charge.metadata,
        "paid": charge.status != "failed",
        "payment_intent": charge.payment_intent,
        "refunded": False,
        "status": charge.status,
        "transfer_group": charge.transfer_group,
    }


INTENT_STATUS = {
    "succeeded": "succeeded",
    "pending": "processing",
    "failed": "requires_payment_method",
}
"""Status of a PaymentIntent by the status of its latest charge."""


def payment_intent_json(
    books: SimulatedStripeBooks, intent: PaymentIntentRow, expand: Sequence[str] = ()
) -> Json:
    charge = books.charges.get(intent.latest_charge or "")
    status = INTENT_STATUS[charge.status] if charge is not None else "processing"
    below = [name.removeprefix("latest_charge.") for name in expand if "." in name]
    expanded = charge is not None and any(name.startswith("latest_charge") for name in expand)
    return {
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_received": intent.amount if status == "succeeded" else 0,
        "created": intent.created,
        "currency": intent.currency,
        "latest_charge": (
            charge_json(books, charge, below)
            if expanded and charge is not None
            else intent.latest_charge
        ),
        "livemode": books.config.livemode,
        "metadata": intent.metadata,
        "status": status,
        "transfer_group": intent.transfer_group,
    }


def transaction_json(transaction: BalanceTransactionRow, now: float | None = None) -> Json:
    is_pending = now is not None and transaction.available_on > now
    category = "transfer_reversal" if transaction.type == "transfer_refund" else transaction.type
    return {
        "id": transaction.id,
        "object": "balance_transaction",
        "amount": transaction.amount,
        "available_on": transaction.available_on,
        "balance_type": "payments",
        "created": transaction.created,
        "currency": transaction.currency,
        "description": transaction.description,
        "exchange_rate": None,
        "fee": 0,
        "fee_details": [],
        "net": transaction.amount,
        "reporting_category": category,
        "source": transaction.source,
        "status": "pending" if is_pending else "available",
        "type": transaction.type,
    }


def account_json(account: AccountRow) -> Json:
    return {
        "id": account.id,
        "object": "account",
        "capabilities": {"transfers": account.transfers_capability},
        "charges_enabled": account.charges_enabled,
        "country": account.country,
        "created": account.created,
        "details_submitted": True,
        "metadata": {},
        "payouts_enabled": account.payouts_enabled,
        "requirements": {
            "currently_due": [],
            "disabled_reason": account.disabled_reason,
            "eventually_due": [],
            "past_due": [],
        },
        "type": "express",
    }


def platform_json(books: SimulatedStripeBooks) -> Json:
    account = AccountRow(id=books.config.platform_account, seq=0, created=0)
    return account_json(account) | {
        "type": "standard",
        "settings": {"dashboard": {"display_name": "Simulator"}},
    }


def capability_json(account: AccountRow) -> Json:
    return {
        "id": "transfers",
        "object": "capability",
        "account": account.id,
        "requested": True,
        "status": account.transfers_capability,
    }


def balance_json(books: SimulatedStripeBooks, holder: str = PLATFORM) -> Json:
    if holder == PLATFORM:
        books.platform_balance("usd")
    buckets = books.balances.of(holder)
    currencies = sorted(set().union(*buckets.values())) or ["usd"]  # never empty [W]
    available, pending = (
        [_balance_line(currency, buckets[bucket].get(currency, 0)) for currency in currencies]
        for bucket in ("available", "pending")
    )
    return {
        "object": "balance",
        "available": available,
        "instant_available": available,
        "livemode": books.config.livemode,
        "pending": pending,
    }


def _balance_line(currency: str, amount: int) -> Json:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}


def payout_json(books: SimulatedStripeBooks, id_: str, amount: int, currency: str) -> Json:
    now = books.clock.seconds()
    return {
        "id": id_,
        "object": "payout",
        "amount": amount,
        "arrival_date": now,
        "automatic": True,
        "balance_transaction": books.ids.next("txn"),
        "created": now,
        "currency": currency,
        "destination": "ba_1Qsim",
        "failure_code": None,
        "failure_message": None,
        "livemode": books.config.livemode,
        "metadata": {},
        "method": "standard",
        "source_type": "card",
        "status": "paid",
        "type": "bank_account",
    }


def event_json(books: SimulatedStripeBooks, event: StripeEventRow) -> Json:
    """Return the event. `data.object` is inserted as the bytes of that moment."""
    content: Json = {"object": orjson.Fragment(event.object)}
    if event.previous_attributes is not None:
        content["previous_attributes"] = event.previous_attributes
    body: Json = {
        "id": event.id,
        "object": "event",
        "api_version": books.config.api_version,
        "created": event.created,
        "data": content,
        "livemode": books.config.livemode,
        "pending_webhooks": event.pending_webhooks,
        "request": {"id": event.request_id, "idempotency_key": event.idempotency_key},
        "type": event.type,
    }
    return body if event.account is None else body | {"account": event.account}


def list_json(url: str, rows: Sequence[Json], has_more: bool) -> Json:
    return {"object": "list", "data": rows, "has_more": has_more, "url": url}


def _linked(books: SimulatedStripeBooks, name: str, id_: str, expand: Sequence[str]) -> str | Json:
    if name not in expand:
        return id_
    match name:
        case "balance_transaction":
            return transaction_json(books.transactions.by_id[id_], books.clock.now())
        case "destination":
            return account_json(books.accounts.by_id[id_])
        case _:
            return transfer_json(books, books.transfers.by_id[id_])
