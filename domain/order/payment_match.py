"""Comparison of the payment that a report names with the payment that paid the order.

One payment has up to three names of different kinds: the PSP's payment, Stripe's PaymentIntent, and
Stripe's charge. Names of one kind can be compared. Names of different kinds say nothing: then it is
unknown whether they mean the same payment, and the metadata decides.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from domain.errors import OtherPayment
from domain.order.aggregate import Order
from domain.order.authority import HYPERSWITCH, authority_of

PSP, INTENT, CHARGE = "psp_payment", "payment_intent", "charge"
"""Kinds of names of a payment."""
_KINDS = {"pi_": INTENT, "ch_": CHARGE, "py_": CHARGE}
"""Kinds of Stripe's names, by prefix."""

PaymentNames = Mapping[str, str]
"""The names of the payment in a report, by kind."""
NO_NAMES: PaymentNames = MappingProxyType({})
KnownNames = frozenset[tuple[str, str]]
"""The kinds and names of the payment of an order."""


class Match(StrEnum):
    """Result of a comparison."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"
    """No kind of name is known on both sides."""


def psp_payment(payment_id: str | None) -> PaymentNames:
    """Return the names of a payment that the PSP reports."""
    return {PSP: payment_id} if payment_id else {}


def stripe_payment(payment_intent: str | None, charge: str | None) -> PaymentNames:
    """Return the names of a payment that Stripe reports."""
    named = {INTENT: payment_intent, CHARGE: charge}
    return {kind: name for kind, name in named.items() if name}


def payments_of(order: Order) -> KnownNames:
    """Return the names of the payment that paid the order, or that the order was registered
    with."""
    names = set[tuple[str, str]]()
    if order.source_transaction:
        names.add((_kind_of(order.source_transaction, CHARGE), order.source_transaction))
    if (name := order.connector_payment) and _kind_of(name, PSP) != PSP:
        names.add((_kind_of(name, PSP), name))
    if order.payment_id:
        # the ledger names its payments at the PSP itself, and such a name may look like Stripe's
        at_psp = authority_of(order) == HYPERSWITCH or order.payment_body is not None
        names.add((PSP if at_psp else _kind_of(order.payment_id, PSP), order.payment_id))
    return frozenset(names)


def _kind_of(name: str, otherwise: str) -> str:
    """Return the kind of a name, by the prefixes that Stripe assigns."""
    return _KINDS.get(name[:3], otherwise)


def match(known: KnownNames, told: PaymentNames) -> Match:
    """Compare two payments by the kinds of names that are known of both."""
    if any(pair in known for pair in told.items()):
        return Match.SAME
    return Match.OTHER if any(kind in told for kind, _ in known) else Match.UNKNOWN


def require_payment_of(order: Order, told: PaymentNames) -> None:
    """Check that a report is about the payment that paid the order, as far as both are known.

    Raises OtherPayment: the sellers do not answer for a payment that they were not paid from.
    """
    known = payments_of(order)
    if match(known, told) is Match.OTHER:
        raise OtherPayment(order.order_id, shown(known), shown(told.items()))


def shown(names: Iterable[tuple[str, str]]) -> str:
    """Return the names of a payment for a sentence."""
    return " / ".join(name for _, name in sorted(names))
