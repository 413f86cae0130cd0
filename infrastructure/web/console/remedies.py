"""Title and remedy of each kind of alarm, in one sentence each. docs/runbook.md has the details; a
test compares the kinds."""

from typing import Final, NamedTuple


class Remedy(NamedTuple):
    """A kind of alarm for a person: its meaning and the next step."""

    title: str
    todo: str


REMEDIES: Final = {
    "permanently_failed": Remedy(
        "The ledger has stopped trying",
        "Open the transfer, then retry it when the cause is gone, or resolve it.",
    ),
    "awaiting_funds": Remedy(
        "A balance at Stripe is too low",
        "Reversals: ask the seller to top up. Transfers: add funds to the platform's balance. Then "
        "retry, or wait for the next try.",
    ),
    "on_hold": Remedy(
        "A seller's account cannot receive money",
        "Let the seller complete the account at Stripe, then retry.",
    ),
    "held_back": Remedy(
        "A transfer waits, since its payment is in doubt",
        "Check the payment at the payment provider, then retry to send, or resolve to end it.",
    ),
    "payment_failed_after_paid": Remedy(
        "A payment failed after it had succeeded",
        "Check the payment at the payment provider; unsent transfers of the order are held back.",
    ),
    "charge_not_readable": Remedy(
        "The charge of a payment cannot be read",
        "Give the key the permission to read payments, then read the charge of the order again.",
    ),
    "charge_unread": Remedy(
        "Stripe has not shown the charge of a payment for an hour",
        "The ledger reads again by itself; a retry pays from the platform's balance at once.",
    ),
    "stripe_outage": Remedy(
        "Stripe does not answer",
        "Nothing to do: the ledger probes every 5 s, and sends again when Stripe answers.",
    ),
    "sending_stopped": Remedy(
        "The ledger has stopped sending: Stripe refuses the key",
        "Correct STRIPE_API_KEY, restart all processes, then end the pause.",
    ),
    "stripe_refuses_the_key": Remedy(
        "Stripe refused the key for a call",
        "If the detail names an account, let the seller connect it again; else correct the key.",
    ),
    "hindered": Remedy(
        "Stripe has not begun a call for an hour",
        "Look for another program that uses the same Stripe account.",
    ),
    "reversal_undecided": Remedy(
        "Stripe has not decided about a reversal for 45 days",
        "Ask Stripe's support about the reversal that the detail names.",
    ),
    "stripe_answer_not_understood": Remedy(
        "The ledger does not understand an answer of Stripe",
        "Read the timeline and report the case; nothing is sent under another key.",
    ),
    "resolution_lapsed": Remedy(
        "A cause disappeared that was settled outside Stripe",
        "If the seller had paid, pay the amount back, then resolve with the record of it.",
    ),
    "newer_release": Remedy(
        "A fact of a newer release waits",
        "Deploy that release, or a later one, to all processes.",
    ),
    "evidence_held": Remedy(
        "Stripe holds an object that the ledger cannot record",
        "Compare with Stripe's dashboard, then resolve the transfer.",
    ),
    "imported_unclear": Remedy(
        "An older system may have paid a transfer",
        "Retry: the ledger looks at Stripe first. Or resolve with the transfer's id at Stripe.",
    ),
    "refund_missing": Remedy(
        "Stripe took an amount for a refund that is not recorded",
        "Let the refund be reported again, or record it with POST /v1/refunds.",
    ),
    "drift": Remedy(
        "A reversal took another amount than was asked for",
        "Read the timeline: a reversal was made outside the ledger.",
    ),
    "paused": Remedy("Sending is paused", "End the pause when its reason is gone."),
    "webhooks_missed": Remedy(
        "Webhooks did not arrive",
        "They are in the inbox now. If the alarm stays, check the endpoint at the provider.",
    ),
    "webhooks_unchecked": Remedy(
        "A provider could not be asked for missed webhooks",
        "Correct the fault in the detail; events of this time are still found later.",
    ),
    "webhook_parked_too_long": Remedy(
        "The order of a webhook is still unknown",
        "Register the order, and the webhook continues; or discard the webhook.",
    ),
    "webhook_unreadable": Remedy(
        "A webhook cannot be read",
        "Read its body and ask the sender; then discard it.",
    ),
    "webhook_dead": Remedy(
        "A webhook failed eight times",
        "Correct the fault in the detail, then replay the webhook, or discard it.",
    ),
    "dispute_open": Remedy(
        "A buyer's bank disputes a payment",
        "Answer the dispute at the provider before its deadline.",
    ),
    "dispute_set_aside": Remedy(
        "A dispute cannot be divided among the sellers",
        "Decide the amount of each seller, or dismiss the dispute.",
    ),
    "dispute_reinstated_in_part": Remedy(
        "A part of a dispute's money came back",
        "Decide how much of the order the dispute takes.",
    ),
    "dispute_of_surplus_payment": Remedy(
        "A dispute of a payment that did not pay the order",
        "Answer the dispute at the provider, then discard the webhook.",
    ),
    "dispute_disagrees": Remedy(
        "A webhook about a dispute contradicts the ledger",
        "Compare the dispute at the provider with the order's history.",
    ),
    "split_money": Remedy(
        "A payment was split at the payment provider",
        "Settle the sellers by hand, and send no split data with payments of this ledger.",
    ),
    "reversed_at_stripe": Remedy(
        "Stripe reported a reversal that the ledger cannot record",
        "Read the timeline, and compare with Stripe's dashboard.",
    ),
    "psp_refuses_the_key": Remedy(
        "The payment provider refuses the key",
        "Correct HYPERSWITCH_API_KEY, and restart all processes.",
    ),
    "refund_not_understood": Remedy(
        "The payment provider's answer about a refund is unusable",
        "Read the refund's history, and check the refund at the payment provider.",
    ),
    "refund_hindered": Remedy(
        "The payment provider has not begun a refund for an hour",
        "Check the refund at the payment provider.",
    ),
    "refund_undecided": Remedy(
        "The payment provider leaves a refund pending",
        "Ask the payment provider; the order cannot be refunded again until it decides.",
    ),
    "refund_unknown_to_psp": Remedy(
        "Stripe shows a refund that the payment provider does not know",
        "Settle the sellers' parts by hand, then discard the webhook.",
    ),
    "refund_of_surplus_payment": Remedy(
        "A refund of a payment that did not pay the order",
        "If the buyer paid twice, discard the webhook.",
    ),
    "refund_set_aside": Remedy(
        "A refund cannot be divided among the sellers",
        "Decide the amount of each seller, or dismiss the refund.",
    ),
    "refund_failed_after_success": Remedy(
        "A refund failed after it had succeeded",
        "Check that the buyer is refunded in another way, if the refund is still due.",
    ),
    "refund_disagrees": Remedy(
        "A webhook about a refund contradicts the ledger",
        "Compare the refund at the provider with the order's history.",
    ),
    "payment_disagrees": Remedy(
        "A payment of another amount or currency than the order",
        "Compare the payment with the order; no seller is paid until one of them is corrected.",
    ),
    "work_overdue": Remedy(
        "Due work is not picked up",
        "Check that a process runs this kind of work, and read /readyz of each process.",
    ),
    "old_transaction": Remedy(
        "A database transaction has been open for too long",
        "End the program or the session that the detail names.",
    ),
}
UNKNOWN: Final = Remedy("An alarm of another kind", "Read its detail, and docs/runbook.md.")
