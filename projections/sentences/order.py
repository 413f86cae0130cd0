"""Sentences about the facts of an order."""

from typing import assert_never

from domain.order import facts as order_facts
from domain.order.facts import AnyOrderFact, AuthorityFound, PaymentDoubted
from projections.sentences import alarm
from projections.sentences.text import at, begin, cause, clause, money


def sentence(fact: AnyOrderFact, currency: str | None) -> str:
    """Describe the change of the order, and the next step."""
    match fact:
        case order_facts.Registered():
            shares = f"{len(fact.shares)} share{'' if len(fact.shares) == 1 else 's'}"
            amount = money(fact.amount, fact.currency)
            return (
                f"Order {fact.order_id!r} of {amount} with {shares} is recorded; the buyer's "
                "payment is next."
            )
        case order_facts.PaymentRequested():
            return (
                f"The ledger asks the payment provider for payment {fact.payment_id!r} under the "
                f"idempotency key {fact.key!r}; "
                "the buyer pays next."
            )
        case order_facts.RefundReserved():
            amount = money(fact.amount, currency)
            return (
                f"The ledger reserves {amount} for refund {fact.refund_id!r}; it asks the "
                "payment provider for the refund next."
            )
        case order_facts.RefundReleased():
            amount = money(fact.amount, currency)
            return f"Refund {fact.refund_id!r} failed; {amount} of the order can be refunded again."
        case order_facts.Paid():
            payment = f" by payment {fact.payment_id!r}" if fact.payment_id else ""
            received = (
                "" if fact.amount_received is None else f" {money(fact.amount_received, currency)}"
            )
            return (
                f"The buyer paid{received}{payment}, as {fact.source!r} reports; the sellers' "
                f"transfers are created{_funded(fact)}."
            )
        case order_facts.ConnectorPaymentNamed():
            return (
                f"The payment is {fact.connector_payment!r} at its connector, as {fact.source!r} "
                "reports; its charge is read at Stripe next."
            )
        case order_facts.ChargeReadDeferred():
            return (
                f"The charge of payment {fact.connector_payment!r} could not be read at Stripe "
                f"({clause(fact.detail)}); it is read again at {at(fact.read_charge_at)}."
            )
        case order_facts.ChargeReadRequested():
            return (
                f"{fact.actor!r} asks the ledger to read the charge of the payment again "
                f"({clause(fact.reason)}); it is read next."
            )
        case order_facts.ChargeFound():
            return (
                f"Stripe shows the charge {fact.charge!r} of {money(fact.amount, fact.currency)}"
                f"{_settled(fact)} for payment {fact.connector_payment!r}, with the status "
                f"{fact.status!r}; it is the source of {_number(fact.sourced, 'transfer')}."
            )
        case order_facts.OrderAlarmAcknowledged():
            return alarm.sentence(fact)
        case order_facts.ChargeNotFound():
            return (
                f"The charge of payment {fact.connector_payment!r} cannot be read at Stripe "
                f"({clause(fact.detail)}); {_number(fact.unfunded, 'transfer')} that waited for it "
                "will be paid from the platform's balance."
            )
        case order_facts.AmountReceived():
            received = money(fact.amount_received, currency)
            return (
                f"The payment received {received}, as {fact.source!r} reports; refunds and "
                f"disputes are divided over that amount, and {_targets(fact.targets)}."
            )
        case order_facts.PaymentNotCounted():
            received = (
                "an unknown amount"
                if fact.amount_received is None
                else money(fact.amount_received, fact.currency)
            )
            return (
                f"Payment {fact.payment_id!r} is {fact.status!r} and received {received}, as "
                f"{fact.source!r} reports; no seller is paid by this payment."
            )
        case PaymentDoubted():
            return (
                f"Payment {fact.payment_id!r} is {fact.status!r} after it succeeded, as "
                f"{fact.source!r} reports ({clause(fact.detail)}); "
                f"transfers held until an operator retries or resolves them: {fact.held}, "
                f"transfers already paid: {fact.sent}."
            )
        case order_facts.TransferMadeByCharge():
            return (
                f"The payment itself paid {money(fact.amount, None)} to seller {fact.seller_id!r} "
                f"as {fact.stripe_transfer_id!r}, as {fact.source!r} reports; the ledger sends no "
                "transfer to this seller."
            )
        case order_facts.ReversalMadeByRefund():
            return (
                f"Refund {fact.refund_id!r} itself reversed {money(fact.amount, None)} of seller "
                f"{fact.seller_id!r} as {fact.stripe_reversal_id!r}; the ledger reverses nothing "
                "for it."
            )
        case order_facts.PaymentNamed():
            return (
                f"The order was paid by payment {fact.payment_id!r}, as {fact.source!r} reports; "
                "the ledger now accepts reports about this payment."
            )
        case AuthorityFound():
            return (
                f"{fact.provider.capitalize()} was the first provider to report a refund or "
                "dispute; "
                "only its reports count from now on."
            )
        case order_facts.RefundAllocated():
            total = money(fact.refunded, currency)
            return (
                f"Refund {fact.refund_id!r} of {money(fact.amount, currency)} is effective, and "
                f"the order's refunds now total {total}; "
                f"{_targets(fact.targets)}."
            )
        case order_facts.RefundRevoked():
            return (
                f"Refund {fact.refund_id!r} of {money(fact.amount, currency)} failed after it "
                "succeeded, and the sellers get their "
                f"shares of the refund back; {_targets(fact.targets)}."
            )
        case order_facts.RefundSetAside():
            amount = money(fact.amount, fact.currency)
            return (
                f"Refund {fact.refund_id!r} of {amount} cannot be divided among the sellers, "
                f"because {fact.why}; "
                "an operator has to decide."
            )
        case order_facts.DisputeCounted():
            counted = money(fact.counted, currency)
            return (
                f"Dispute {fact.dispute_id!r} of {money(fact.amount, currency)} is effective, "
                f"{counted} of it after refunds; "
                f"{_targets(fact.targets)}."
            )
        case order_facts.DisputeRevoked():
            return (
                f"Dispute {fact.dispute_id!r} of {money(fact.amount, currency)} is not effective "
                "any more, and the sellers get "
                f"their shares of the dispute back; {_targets(fact.targets)}."
            )
        case order_facts.DisputeReduced():
            taken = money(fact.counted, currency)
            return (
                f"Dispute {fact.dispute_id!r} takes {taken} of the order, as a person decided, "
                f"instead of {money(fact.before, currency)}; {_targets(fact.targets)}."
            )
        case order_facts.DisputeSetAside():
            amount = money(fact.amount, fact.currency)
            return (
                f"Dispute {fact.dispute_id!r} of {amount} cannot be divided among the sellers, "
                f"because {fact.why}; "
                "an operator has to decide."
            )
        case order_facts.SetAsideDecided():
            return _decided(fact, currency)
        case order_facts.SetAsideEnded():
            return f"{begin(cause(fact.cause_id))} needs no decision any more, because {fact.why}."
        case order_facts.CompensationOwed():
            amount = money(fact.amount, None)  # in the currency of the transfer
            return (
                f"{begin(cause(fact.cause_id))} no longer takes {amount} that seller "
                f"{fact.seller_id!r} has given back; "
                f"transfer {fact.transfer_id!r} pays the amount back."
            )
        case order_facts.Resettled():
            return (
                f"An outcome at Stripe differs from the plan for {cause(fact.cause_id)}; "
                "the ledger computed again how much each seller owes, and no action is needed."
            )
        case _:
            assert_never(fact)


def _decided(fact: order_facts.SetAsideDecided, currency: str | None) -> str:
    by = f"{fact.actor!r} decided {cause(fact.cause_id)}, because {clause(fact.reason)!r}"
    if fact.explicit is None:
        return f"{by}: it is dismissed, and takes nothing from the sellers."
    parts = ", ".join(
        f"{money(amount, None)} from {seller!r}" for seller, amount in fact.explicit.items()
    )
    takes = f"{parts} (in the currency of each share)" if parts else "nothing from the sellers"
    return f"{by}: it counts as {money(fact.amount, currency)}, and takes {takes}."


def _funded(fact: order_facts.Paid) -> str:
    if fact.read_charge_at is not None:
        return f", and the charge of payment {fact.connector_payment!r} is read at Stripe first"
    if fact.source_transaction is not None:
        return f" with the charge {fact.source_transaction!r} as their source"
    if fact.connector is not None or fact.connector_payment is not None:
        named = fact.connector_payment or "no payment"
        return (
            f" without a source, since the connector {fact.connector or 'unknown'!r} names "
            f"{named!r}, which is no payment at Stripe"
        )
    return ""


def _settled(fact: order_facts.ChargeFound) -> str:
    if fact.settled_amount is None or fact.settled_currency in (None, fact.currency):
        return ""
    return f", settled as {money(fact.settled_amount, fact.settled_currency)},"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _targets(targets: dict[str, int]) -> str:
    # a seller may be paid in another currency than the order's, and the fact does not name it
    totals = ", ".join(
        f"{money(amount, None)} from {seller!r}" for seller, amount in targets.items() if amount > 0
    )
    taken = f"{totals} (in the currency of each share)" if totals else "nothing from the sellers"
    return f"together, the order's refunds and disputes now take {taken}"
