"""Payments that a PSP makes at Stripe through its connector: a PaymentIntent and its charge."""

from collections.abc import Mapping

from infrastructure.simulators.stripe.books import SimulatedStripeBooks
from infrastructure.simulators.stripe.charges import fail_charge, register_charge
from infrastructure.simulators.stripe.rows import PaymentIntentRow
from infrastructure.simulators.stripe.world import StripeWorld


def add_payment(
    books: SimulatedStripeBooks,
    amount: int,
    currency: str,
    *,
    id: str | None = None,
    status: str | None = "succeeded",
    settled_currency: str | None = None,
    settled_amount: int | None = None,
    available_in: float | None = None,
    transfer_group: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> PaymentIntentRow:
    """Add a PaymentIntent and its charge of this status; with status None it has no charge yet.

    `settled_…`: currency and amount of the balance transaction, if they are not the buyer's.
    """
    intent = books.payment_intents.add(
        PaymentIntentRow(
            id=id or books.ids.next("pi"),
            seq=books.payment_intents.next_seq(),
            created=books.clock.seconds(),
            currency=currency,
            amount=amount,
            transfer_group=transfer_group,
            metadata=dict(metadata or {}),
        )
    )
    if status is not None:
        charge_payment(books, intent, status, settled_currency, settled_amount, available_in)
    return intent


def charge_payment(
    books: SimulatedStripeBooks,
    intent: PaymentIntentRow,
    status: str = "succeeded",
    settled_currency: str | None = None,
    settled_amount: int | None = None,
    available_in: float | None = None,
) -> None:
    """Add the charge of a PaymentIntent."""
    charge = register_charge(
        books,
        books.ids.next("ch"),
        settled_currency or intent.currency,
        intent.amount if settled_amount is None else settled_amount,
        intent.transfer_group,
        available_in,
        status=status,
        payment_intent=intent.id,
        paid_currency=intent.currency,
        paid_amount=intent.amount,
        metadata=intent.metadata,
    )
    intent.latest_charge = charge.id
    books.payment_intents.save(intent)


class StripeConnector:
    """The simulated Stripe as a PSP's connector, when both run in one process."""

    def __init__(self, world: StripeWorld) -> None:
        self._world = world

    def charge(self, amount: int, currency: str, metadata: Mapping[str, str]) -> str:
        """Charge a buyer; return the id of the PaymentIntent. `currency` in upper case."""
        intent = add_payment(self._world.books, amount, currency.lower(), metadata=metadata)
        self._world.commit()
        return intent.id

    def fail(self, payment_intent: str) -> None:
        """Let the charge of a PaymentIntent fail. Does nothing for an unknown one."""
        books = self._world.books
        intent = books.payment_intents.get(payment_intent)
        charge = books.charges.get(intent.latest_charge or "") if intent is not None else None
        if charge is not None:
            fail_charge(books, charge)
            self._world.commit()
