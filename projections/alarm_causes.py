"""Causes of alarms: for each kind one sentence, the section of the runbook, and the levers that end
it."""

from typing import NamedTuple

RUNBOOK = "runbook.md"


class AlarmCause(NamedTuple):
    """The explanation of one kind of alarm."""

    sentence: str
    """The condition, and the next step of a person."""
    anchor: str
    """Place in docs/runbook.md, such as `alarm-awaiting_funds`."""
    levers: tuple[str, ...] = ()
    """Actions that may end it: retry, resolve, decide, replay, discard, resume, read-charge,
    acknowledge."""
    ends_at_funds_deadline: bool = False
    """True if the ledger gives up after FUNDS_DEADLINE."""

    @property
    def runbook(self) -> str:
        """Return the link, relative to docs/."""
        return f"{RUNBOOK}#{self.anchor}"


_WEBHOOK, _STUCK = ("replay", "discard"), ("retry", "resolve")
_ACKNOWLEDGE = "acknowledge"

_CAUSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "permanently_failed": (
        "A transfer or its reversal has no automatic next step: read its history, then retry or "
        "resolve it.",
        _STUCK,
    ),
    "awaiting_funds": (
        "A balance at Stripe is too low: add funds, or ask the seller to; the ledger tries again "
        "by itself.",
        _STUCK,
    ),
    "on_hold": (
        "The seller's account cannot receive money: ask the seller to complete it at Stripe.",
        _STUCK,
    ),
    "held_back": (
        "The order's payment failed after it had succeeded, so unsent transfers are held: retry "
        "sends one, resolve ends it.",
        _STUCK,
    ),
    "imported_unclear": (
        "An older system may have paid this imported transfer: nothing is sent until a person "
        "decides.",
        _STUCK,
    ),
    "evidence_held": (
        "Stripe holds an object that the ledger cannot record: compare with Stripe's dashboard, "
        "then resolve, or acknowledge the alarm once the object is settled by hand.",
        (*_STUCK, _ACKNOWLEDGE),
    ),
    "resolution_lapsed": (
        "A refund disappeared after a person had closed its reversal outside Stripe: pay the "
        "seller back outside Stripe, then resolve.",
        ("resolve",),
    ),
    "refund_missing": (
        "Stripe shows money as taken for a refund that is not recorded here: have the refund "
        "reported again.",
        (),
    ),
    "drift": (
        "A reversal took another amount than was requested: read the history, settle the "
        "difference with the seller, then acknowledge the alarm.",
        (_ACKNOWLEDGE,),
    ),
    "hindered": (
        "Stripe has not begun a call for an hour: look for another program on the same account.",
        ("retry",),
    ),
    "stripe_refuses_the_key": (
        "Stripe refuses the key for a call: check the key, and whether the account is connected.",
        ("retry",),
    ),
    "reversal_undecided": (
        "Stripe has left a reversal pending for 45 days: ask Stripe's support.",
        (),
    ),
    "stripe_answer_not_understood": (
        "An answer of Stripe disagrees with the request, and nothing more is sent: read the "
        "history, and report the case.",
        (),
    ),
    "psp_refuses_the_key": (
        "The payment provider refuses the key: correct HYPERSWITCH_API_KEY, and restart.",
        (),
    ),
    "refund_not_understood": (
        "The payment provider's answer about a refund cannot be recorded: check the refund there.",
        (),
    ),
    "refund_hindered": (
        "The payment provider has not begun a refund for an hour: check the refund there.",
        (),
    ),
    "refund_undecided": (
        "The payment provider leaves a refund pending: ask it about the refund.",
        (),
    ),
    "refund_set_aside": (
        "A refund succeeded, but cannot be divided among the sellers: decide who pays.",
        ("decide",),
    ),
    "refund_failed_after_success": (
        "A refund that had succeeded has failed: check that the buyer gets the money in another "
        "way, then acknowledge the alarm.",
        (_ACKNOWLEDGE,),
    ),
    "dispute_open": (
        "The buyer's bank disputes a payment: answer the dispute at the provider.",
        (),
    ),
    "dispute_set_aside": (
        "A dispute cannot be divided among the sellers: decide who pays.",
        ("decide",),
    ),
    "payment_failed_after_paid": (
        "The payment of a paid order is reported as failed: unsent transfers are held, so compare "
        "with the payment provider, settle the transfers, then acknowledge the alarm.",
        (_ACKNOWLEDGE,),
    ),
    "charge_not_readable": (
        "The charge of an order cannot be read with our key, so its sellers are paid from the "
        "platform's balance: check account and permissions.",
        ("read-charge",),
    ),
    "charge_unread": (
        "Stripe has not shown the charge of an order for an hour, and its transfers wait: the "
        "ledger reads again by itself.",
        ("retry",),
    ),
    "paused": ("Work is paused: resume it when the reason is gone.", ("resume",)),
    "sending_stopped": (
        "The ledger has stopped sending, because Stripe refuses the key or shows another account: "
        "correct the key, restart, then resume.",
        ("resume",),
    ),
    "stripe_outage": (
        "Stripe does not answer: nothing is lost, and a probe ends the outage by itself.",
        (),
    ),
    "newer_release": (
        "A fact of a newer release waits: deploy that release to all processes.",
        (),
    ),
    "work_overdue": (
        "Due work waits and no process claims it: check that a worker of this kind runs.",
        (),
    ),
    "old_transaction": (
        "A transaction on this database has been open for more than five minutes: end its program.",
        (),
    ),
    "webhooks_missed": (
        "Webhooks were lost, and the poller has fetched their events: check the endpoint at the "
        "provider.",
        (),
    ),
    "webhooks_unchecked": (
        "A provider cannot be asked for missed webhooks: correct the fault in the detail.",
        (),
    ),
    "webhook_parked_too_long": (
        "The order of a webhook is unknown: register the order, or discard the webhook.",
        _WEBHOOK,
    ),
    "webhook_unreadable": (
        "A signed webhook cannot be read: ask its sender, then discard it.",
        _WEBHOOK,
    ),
    "webhook_dead": (
        "Handling a webhook failed eight times: correct the fault, then replay it.",
        _WEBHOOK,
    ),
    "payment_disagrees": (
        "A payment differs from its order: compare both, and correct the order or discard the "
        "webhook.",
        _WEBHOOK,
    ),
    "refund_disagrees": (
        "A webhook about a refund contradicts the refund that is recorded: compare both.",
        _WEBHOOK,
    ),
    "dispute_disagrees": (
        "A webhook about a dispute contradicts the dispute that is recorded: compare both.",
        _WEBHOOK,
    ),
    "refund_of_surplus_payment": (
        "A refund concerns another payment than the one that paid its order: discard it if the "
        "buyer had paid twice.",
        _WEBHOOK,
    ),
    "dispute_of_surplus_payment": (
        "A dispute concerns another payment than the one that paid its order: answer it, then "
        "discard the webhook.",
        _WEBHOOK,
    ),
    "refund_unknown_to_psp": (
        "Stripe shows a refund that the payment provider does not report: it was probably made in "
        "Stripe's dashboard.",
        _WEBHOOK,
    ),
    "dispute_reinstated_in_part": (
        "Only a part of a dispute's money came back: decide how much the dispute takes.",
        ("decide", *_WEBHOOK),
    ),
    "reversed_at_stripe": (
        "Stripe reports a reversal that the ledger cannot record: compare with Stripe's dashboard.",
        _WEBHOOK,
    ),
    "split_money": (
        "A payment or refund is split in a way that the ledger does not know: compare with the "
        "payment provider.",
        _WEBHOOK,
    ),
}


def anchor_of(kind: str) -> str:
    """Return the place of a kind of alarm in docs/runbook.md."""
    return f"alarm-{kind}"


CAUSES = {
    kind: AlarmCause(sentence, anchor_of(kind), levers, kind == "awaiting_funds")
    for kind, (sentence, levers) in _CAUSES.items()
}
"""By kind; a test compares the kinds with docs/runbook.md."""


def cause_of(kind: str) -> AlarmCause:
    """Return the cause of a kind. A kind of a newer release points to the list of all alarms."""
    unknown = AlarmCause("A person has to look at this: read the detail.", "alarms")
    return CAUSES.get(kind, unknown)
