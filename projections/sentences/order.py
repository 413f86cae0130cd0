"""One sentence per fact of an order: what happened, and what happens next."""

from typing import assert_never

from domain.order import facts as order_facts
from domain.order.facts import AnyOrderFact, AuthorityFound, PaymentDoubted
from projections.sentences.text import clause, money


def sentence(fact: AnyOrderFact, currency: str | None) -> str:
    """What happened to the order, and what happens next."""
    match fact:
        case order_facts.Registered():
            shares = f"{len(fact.shares)} share{'' if len(fact.shares) == 1 else 's'}"
            amount = money(fact.amount, fact.currency)
            return f"Order {fact.order_id!r} over {amount} with {shares} is recorded; it waits for its payment."
        case order_facts.PaymentRequested():
            return f"The payment provider is asked for payment {fact.payment_id!r} under {fact.key!r}; the buyer pays it next."
        case order_facts.RefundReserved():
            amount = money(fact.amount, currency)
            return f"{amount} are kept for refund {fact.refund_id!r}, which the payment provider is asked for next."
        case order_facts.RefundReleased():
            amount = money(fact.amount, currency)
            return f"Refund {fact.refund_id!r} came to nothing; {amount} of the order may be refunded again."
        case order_facts.Paid():
            payment = f" by {fact.payment_id!r}" if fact.payment_id else ""
            return f"The buyer has paid{payment}, says {fact.source!r}; the sellers' transfers are created."
        case PaymentDoubted():
            return (
                f"Payment {fact.payment_id!r} is said by {fact.source!r} to have failed after all ({clause(fact.detail)}); "
                f"{fact.held} unsent transfers wait until a person retries or resolves them, and {fact.sent} were paid before."
            )
        case order_facts.PaymentNamed():
            return f"It was payment {fact.payment_id!r}, says {fact.source!r}, that paid it."
        case AuthorityFound():
            return (
                f"{fact.provider.capitalize()} was the first to tell of money given back or taken; its word counts from now on."
            )
        case order_facts.RefundAllocated():
            total = money(fact.refunded, currency)
            return (
                f"Refund {fact.refund_id!r} of {money(fact.amount, currency)} counts, {total} are refunded in all; "
                f"in all {_targets(fact.targets)}."
            )
        case order_facts.RefundRevoked():
            return (
                f"Refund {fact.refund_id!r} of {money(fact.amount, currency)} does not count after all; what it took too much "
                f"is given back, and in all {_targets(fact.targets)}."
            )
        case order_facts.RefundSetAside():
            amount = money(fact.amount, fact.currency)
            return f"Refund {fact.refund_id!r} of {amount} is set aside, because {fact.why}; a person has to decide."
        case order_facts.DisputeCounted():
            counted = money(fact.counted, currency)
            return (
                f"Dispute {fact.dispute_id!r} of {money(fact.amount, currency)} counts, {counted} of it after what refunds take; "
                f"in all {_targets(fact.targets)}."
            )
        case order_facts.DisputeRevoked():
            return (
                f"Dispute {fact.dispute_id!r} of {money(fact.amount, currency)} takes nothing any more; what it took too much "
                f"is given back, and in all {_targets(fact.targets)}."
            )
        case order_facts.DisputeSetAside():
            amount = money(fact.amount, fact.currency)
            return f"Dispute {fact.dispute_id!r} of {amount} is set aside, because {fact.why}; a person has to decide."
        case order_facts.CompensationOwed():
            amount = money(fact.amount, currency)
            return (
                f"Seller {fact.seller_id!r} is owed {amount} that {fact.cause_id!r} took in vain; "
                f"transfer {fact.transfer_id!r} gives them back."
            )
        case order_facts.Resettled():
            return f"{fact.cause_id!r} had failed while Stripe was asked; the order's transfers are settled anew, nothing is due."
        case _:
            assert_never(fact)


def _targets(targets: dict[str, int]) -> str:
    owed = ", ".join(f"{seller!r} {amount}" for seller, amount in targets.items())
    return f"this comes back from the sellers (minor units): {owed}" if owed else "no seller gives anything back"
