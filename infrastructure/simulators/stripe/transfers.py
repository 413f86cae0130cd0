"""Stripe's business rules for transfers and reversals. Refusals from here are executed answers: Stripe stores them."""

from __future__ import annotations

from typing import Any

from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Params
from infrastructure.simulators.stripe.accounts import find_account
from infrastructure.simulators.stripe.balances import Pocket
from infrastructure.simulators.stripe.books import Books, Origin
from infrastructure.simulators.stripe.charges import bucket_of, check_source, find_charge, use_source
from infrastructure.simulators.stripe.errors import spoken
from infrastructure.simulators.stripe.parameters import merged
from infrastructure.simulators.stripe.render import transfer_json
from infrastructure.simulators.stripe.rows import Account, Charge, Reversal, Transfer


def check_named_objects(books: Books, params: Params) -> None:
    """A wrong id in a body parameter is a validation error, not an executed one [W]. Raises Refusal."""
    _destination(books, params)
    if "source_transaction" in params:
        find_charge(books, params["source_transaction"], params["currency"])


def create_transfer(books: Books, params: Params, origin: Origin) -> Transfer:
    """Move the money and announce `transfer.created`. Raises Refusal before anything has changed."""
    account = _destination(books, params)
    if account.transfers_capability != "active":
        raise Refusal("destination_lacks_capability")
    amount, currency = params["amount"], params["currency"]
    charge = _source(books, params)
    if charge is None and books.purse.amount(books.platform_pocket(currency)) < amount:
        raise Refusal("platform_balance_too_low")
    transfer = _written_down(books, params, charge)
    bucket = "available"
    if charge is not None:
        use_source(books, charge, transfer.id, amount)
        bucket = bucket_of(charge)
    books.purse.move(amount, books.platform_pocket(currency, bucket), Pocket(account.id, currency, bucket))
    books.announce("transfer.created", transfer_json(books, transfer), origin)
    return transfer


def _destination(books: Books, params: Params) -> Account:
    account = find_account(books, params["destination"])
    if account is None or account.revoked:
        raise Refusal("no_such_destination", id=params["destination"])
    return account


def _source(books: Books, params: Params) -> Charge | None:
    if "source_transaction" not in params:
        return None
    charge = find_charge(books, params["source_transaction"], params["currency"])
    check_source(charge, params["amount"], params["currency"])
    return charge


def _written_down(books: Books, params: Params, charge: Charge | None) -> Transfer:
    id_ = books.ids.next("tr")
    amount, currency = params["amount"], params["currency"]
    transaction = books.book_transaction("transfer", -amount, currency, id_)
    group = charge.transfer_group if charge else None  # Stripe sets its own group for a sourced transfer [D]
    return books.transfers.add(
        Transfer(
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


def update_transfer(books: Books, transfer: Transfer, params: Params, origin: Origin) -> Transfer:
    before = {"metadata": transfer.metadata, "description": transfer.description}
    transfer.metadata = merged(transfer.metadata, params.get("metadata"))
    transfer.description = params.get("description", transfer.description)
    books.transfers.touch(transfer)
    previous = {name: value for name, value in before.items() if value != getattr(transfer, name)}
    if previous:
        books.announce("transfer.updated", transfer_json(books, transfer), origin, previous)
    return transfer


def create_reversal(
    books: Books, transfer: Transfer, params: dict[str, Any], origin: Origin, source_refund: str | None = None
) -> Reversal:
    """Take money back and announce `transfer.reversed`. Raises Refusal before anything has changed."""
    amount = _amount_to_reverse(transfer, params)
    charge = books.charges.get(transfer.source_transaction or "")
    pocket = Pocket(transfer.destination, transfer.currency, bucket_of(charge) if charge else "available")
    account = books.accounts.by_id[transfer.destination]
    if not account.connected_reserves and books.purse.amount(pocket) < amount:
        raise Refusal("seller_balance_too_low")
    reversal = _reversal_written_down(books, transfer, amount, merged({}, params.get("metadata")), source_refund)
    books.purse.move(amount, pocket, books.platform_pocket(transfer.currency, pocket.bucket))
    previous = {"amount_reversed": transfer.amount_reversed}
    transfer.amount_reversed += amount
    transfer.reversals.append(reversal.id)
    books.transfers.touch(transfer)
    books.announce("transfer.reversed", transfer_json(books, transfer), origin, previous)
    return reversal


def _amount_to_reverse(transfer: Transfer, params: Params) -> int:
    """Without an amount: all that is left [G after a partial reversal]."""
    amount: int = params.get("amount", transfer.rest)
    if transfer.rest == 0:
        raise Refusal("already_fully_reversed", transfer=transfer.id)
    if amount > transfer.rest:
        asked, rest = spoken(amount, transfer.currency), spoken(transfer.rest, transfer.currency)
        raise Refusal("reversal_above_rest", asked=asked, rest=rest)
    return amount


def _reversal_written_down(
    books: Books, transfer: Transfer, amount: int, metadata: dict[str, str], source_refund: str | None
) -> Reversal:
    id_ = books.ids.next("trr")
    transaction = books.book_transaction("transfer_reversal", amount, transfer.currency, id_)
    return books.reversals.add(
        Reversal(
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


def update_reversal(books: Books, reversal: Reversal, params: Params) -> Reversal:
    reversal.metadata = merged(reversal.metadata, params.get("metadata"))
    books.reversals.touch(reversal)
    return reversal
