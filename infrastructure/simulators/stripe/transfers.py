"""Stripe's business rules for transfers and reversals. Refusals from here are executed answers:
Stripe stores them."""

from typing import Any

from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Params
from infrastructure.simulators.stripe.accounts import find_account
from infrastructure.simulators.stripe.balances import BalanceKey
from infrastructure.simulators.stripe.books import Origin, SimulatedStripeBooks
from infrastructure.simulators.stripe.charges import (
    bucket_of,
    check_source,
    find_charge,
    group_of,
    use_source,
)
from infrastructure.simulators.stripe.errors import money_text
from infrastructure.simulators.stripe.parameters import merged
from infrastructure.simulators.stripe.pending_reversals import begin_pending, seller_balance, take
from infrastructure.simulators.stripe.render import transfer_json
from infrastructure.simulators.stripe.rows import (
    AccountRow,
    ChargeRow,
    TransferReversalRow,
    TransferRow,
)
from infrastructure.simulators.stripe.settlement import available_on_of


def check_named_objects(books: SimulatedStripeBooks, params: Params) -> None:
    """Check the charge's id: a wrong one is a validation error [W]. Raises Refusal.

    A wrong destination is an executed error, which Stripe stores [W, 2026-02].
    """
    if "source_transaction" in params:
        find_charge(books, params["source_transaction"], params["currency"])


def create_transfer(books: SimulatedStripeBooks, params: Params, origin: Origin) -> TransferRow:
    """Move the money and announce `transfer.created`. Raises Refusal before any change."""
    account = _destination(books, params)
    if account.transfers_capability != "active":
        raise Refusal("destination_lacks_capability")
    amount, currency = params["amount"], params["currency"]
    charge = _source(books, params)
    if charge is None and books.balances.amount(books.platform_balance(currency)) < amount:
        raise Refusal("platform_balance_too_low")
    transfer = _add_transfer(books, params, charge)
    bucket = "available"
    if charge is not None:
        use_source(books, charge, transfer.id, amount)
        bucket = bucket_of(charge)
    books.balances.move(
        amount, books.platform_balance(currency, bucket), BalanceKey(account.id, currency, bucket)
    )
    books.announce("transfer.created", transfer_json(books, transfer), origin)
    return transfer


def _destination(books: SimulatedStripeBooks, params: Params) -> AccountRow:
    account = find_account(books, params["destination"])
    if account is None or account.revoked:
        raise Refusal("no_such_destination", id=params["destination"])
    return account


def _source(books: SimulatedStripeBooks, params: Params) -> ChargeRow | None:
    if "source_transaction" not in params:
        return None
    charge = find_charge(books, params["source_transaction"], params["currency"])
    check_source(charge, params["amount"], params["currency"])
    return charge


def _add_transfer(
    books: SimulatedStripeBooks, params: Params, charge: ChargeRow | None
) -> TransferRow:
    id_ = books.ids.next("tr")
    amount, currency = params["amount"], params["currency"]
    transaction = books.add_transaction("transfer", -amount, currency, id_)
    group = group_of(charge) if charge is not None else None
    return books.transfers.add(
        TransferRow(
            id=id_,
            seq=books.transfers.next_seq(),
            created=transaction.created,
            amount=amount,
            currency=currency,
            destination=params["destination"],
            balance_transaction=transaction.id,
            destination_payment=books.ids.next("py"),
            metadata=merged({}, params.get("metadata")),
            description=params.get("description"),
            source_transaction=params.get("source_transaction"),
            source_type=params.get("source_type", "card"),
            transfer_group=group or params.get("transfer_group"),
        )
    )


def update_transfer(
    books: SimulatedStripeBooks, transfer: TransferRow, params: Params, origin: Origin
) -> TransferRow:
    before = {"metadata": transfer.metadata, "description": transfer.description}
    transfer.metadata = merged(transfer.metadata, params.get("metadata"))
    transfer.description = params.get("description", transfer.description)
    books.transfers.save(transfer)
    previous = {name: value for name, value in before.items() if value != getattr(transfer, name)}
    if previous:
        books.announce("transfer.updated", transfer_json(books, transfer), origin, previous)
    return transfer


def create_reversal(
    books: SimulatedStripeBooks,
    transfer: TransferRow,
    params: dict[str, Any],
    origin: Origin,
    source_refund: str | None = None,
) -> TransferReversalRow:
    """Take money back, and announce `transfer.reversed` and the seller's `refund.created`. Raises
    Refusal before any change."""
    amount = _amount_to_reverse(transfer, params)
    if books.reversals_begin_pending or params.get("pending"):
        metadata = merged({}, params.get("metadata"))
        return begin_pending(
            books, transfer, _add_reversal(books, transfer, amount, metadata, source_refund), origin
        )
    key = seller_balance(books, transfer)
    account = books.accounts.by_id[transfer.destination]
    if not account.connected_reserves and books.balances.amount(key) < amount:
        raise Refusal("seller_balance_too_low")
    reversal = _add_reversal(
        books, transfer, amount, merged({}, params.get("metadata")), source_refund
    )
    take(books, transfer, reversal, key, origin)
    return reversal


def _amount_to_reverse(transfer: TransferRow, params: Params) -> int:
    """Return the amount, by default the whole rest [G after a partial reversal]. Raises Refusal
    above the rest."""
    amount: int = params.get("amount", transfer.rest)
    if transfer.rest == 0:
        raise Refusal("already_fully_reversed", transfer=transfer.id)
    if amount > transfer.rest:
        asked, rest = (
            money_text(amount, transfer.currency),
            money_text(transfer.rest, transfer.currency),
        )
        raise Refusal("reversal_above_rest", asked=asked, rest=rest)
    return amount


def _add_reversal(
    books: SimulatedStripeBooks,
    transfer: TransferRow,
    amount: int,
    metadata: dict[str, str],
    source_refund: str | None,
) -> TransferReversalRow:
    id_ = books.ids.next("trr")
    available_on = available_on_of(books, books.charges.get(transfer.source_transaction or ""))
    transaction = books.add_transaction(
        "transfer_reversal", amount, transfer.currency, transfer.id, available_on
    )
    return books.reversals.add(
        TransferReversalRow(
            id=id_,
            seq=books.reversals.next_seq(),
            created=transaction.created,
            transfer=transfer.id,
            amount=amount,
            currency=transfer.currency,
            balance_transaction=transaction.id,
            destination_payment_refund=books.ids.next("pyr"),
            metadata=metadata,
            source_refund=source_refund,
        )
    )


def update_reversal(
    books: SimulatedStripeBooks, reversal: TransferReversalRow, params: Params
) -> TransferReversalRow:
    reversal.metadata = merged(reversal.metadata, params.get("metadata"))
    books.reversals.save(reversal)
    return reversal
