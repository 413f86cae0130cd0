"""Members of the PSP's payments and refunds about a split: money that Stripe moves with them.

The PSP shows the split of a payment as `split_payments`, in older versions as `charges`, with one
member for the connector. The ledger never sends these members.
"""

from collections.abc import Mapping

from application.foreign_members import text_or_none
from domain.provider_call.psp_objects import SplitPayment

DESTINATION, DIRECT = "destination", "direct"
STRIPE_PAYMENT, STRIPE_REFUND = "stripe_split_payment", "stripe_split_refund"


def split_payment(payment: Mapping[str, object]) -> SplitPayment | None:
    """Return the split of a payment; None if it has none."""
    for name in ("split_payments", "charges"):
        split = payment.get(name)
        if not isinstance(split, Mapping) or not split:
            continue
        stripe = split.get(STRIPE_PAYMENT, split)
        if not isinstance(stripe, Mapping):
            stripe = split
        return SplitPayment(
            _word(stripe.get("charge_type")) or "unknown",
            text_or_none(stripe.get("transfer_account_id")),
            text_or_none(stripe.get("charge_id")),
        )
    return None


def reverts_transfer(refund: Mapping[str, object]) -> bool:
    """Return whether the refund itself reverses the transfer that its payment has made."""
    split = refund.get("split_refunds")
    if not isinstance(split, Mapping):
        return False
    stripe = split.get(STRIPE_REFUND, split)
    return isinstance(stripe, Mapping) and stripe.get("revert_transfer") is True


def shown_split(split: SplitPayment | None) -> dict[str, object] | None:
    """Return the split as the PSP shows it."""
    if split is None:
        return None
    stripe = {
        "charge_type": split.charge_type,
        "transfer_account_id": split.account,
        "charge_id": split.charge_id,
    }
    return {STRIPE_PAYMENT: stripe}


def _word(value: object) -> str | None:
    """Return a word, also of `{"Stripe": "destination"}`, as some versions write it."""
    if isinstance(value, Mapping):
        value = next(iter(value.values()), None)
    return value.lower() if isinstance(value, str) and value else None
