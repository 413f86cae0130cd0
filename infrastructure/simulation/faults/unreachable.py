"""States that schedules of faults cannot reach by design, each with the reason."""

from collections.abc import Mapping

OTHER_SYSTEM = "only `import` and `backfill`, for transfers of an older system, get there"
RECONCILIATION = "only `reconcile` gets there, and it does not run in a schedule"
AT_STRIPE = "only refunds and disputes at Stripe itself get there; here the PSP is the authority"
SPLIT = "only payments and refunds that are split at Stripe get there"
BY_PSP = "every payment here is made at the PSP, and names its order"
OUTSIDE = "only a person who settles money outside Stripe gets there"
SAME_ACCOUNT = "sellers keep their accounts: the amounts at Stripe are compared by account"
START = "only the start of a process or the inspection by a person calls it"
INBOX = "only a person who repeats or discards a dead webhook gets there"
CORRECTED = "neither the marketplace nor the PSP corrects a report here"
RACES = "the orders are too small for a command that loses so many races"
DEAD = "only a webhook that no release can handle gets there"
PAYOUTS = "a payout of the simulated Stripe arrives at once"
FIRM = "Hyperswitch has no such answer"
PAID_STAYS = "a payment that has succeeded does not fail later here (docs/guarantees.md, 21)"
ACKNOWLEDGED = "only a person who acknowledges an alarm gets there"
RECORDABLE = "only a second object at Stripe, or one that a person has settled, gets there"


def _each(reason: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, reason)


def _strikes(reason: str, *steps: str) -> dict[str, str]:
    kinds = ("crash_before", "crash_after", "frozen")
    return {f"{kind} @ {step}": reason for step in steps for kind in kinds}


def _facts(reason: str, *topics: str) -> dict[str, str]:
    return {f"fact ledger.{topic}": reason for topic in topics}


UNREACHABLE: Mapping[str, str] = {
    **_facts(
        OTHER_SYSTEM,
        "seller_transfer.imported",
        "seller_transfer.stripe_transfer_id_backfilled",
    ),
    **_facts(
        RECONCILIATION,
        "finding.adopted",
        "finding.ignore_taken_back",
        "finding.ignored",
        "finding.noted",
    ),
    **_facts(
        AT_STRIPE,
        "dispute.evidence_requested",
        "dispute.part_decided",
        "dispute.reinstated_in_part",
        "dispute.restated",
        "order.dispute_reduced",
        "order.dispute_revoked",
    ),
    **_facts(
        SPLIT,
        "order.reversal_made_by_refund",
        "order.transfer_made_by_charge",
        "seller_transfer.reversal_attributed",
    ),
    **_facts(
        BY_PSP,
        "order.payment_requested",
        "order.payment_named",
        "order.connector_payment_named",
        "order.payment_not_counted",
        "order.dispute_set_aside",
        "order.set_aside_decided",
        "refund.named",
    ),
    **_facts(
        OUTSIDE,
        "seller_transfer.owed_outside",
        "seller_transfer.resolved",
        "seller_transfer.resolution_lapsed",
        "seller_transfer.resolution_reinstated",
    ),
    **_facts(SAME_ACCOUNT, "seller_transfer.redirected"),
    **_facts(PAID_STAYS, "order.payment_doubted", "seller_transfer.held_back"),
    **_facts(INBOX, "webhook.noted", "webhook.discarded", "webhook.replay_requested"),
    **_facts(
        ACKNOWLEDGED,
        "seller_transfer.alarm_acknowledged",
        "order.alarm_acknowledged",
        "refund.alarm_acknowledged",
    ),
    **_facts(RECORDABLE, "seller_transfer.evidence_held"),
    **_facts(PAYOUTS, "payout.sent", "payout.canceled", "payout.failed"),
    **_facts(CORRECTED, "order.amount_received"),
    **_strikes(RACES, "WorkQueue.hold"),
    **_strikes(BY_PSP, "PaymentGateway.create_payment"),
    **_strikes(START, "TransferGateway.account"),
    **_strikes(INBOX, "Directory.webhook"),
    **_strikes(ACKNOWLEDGED, "Directory.alarm"),
    **_strikes(DEAD, "Inbox.bury"),
    **_strikes(OTHER_SYSTEM, "TransferGateway.find_similar", "Directory.claimed"),
    **_each(OUTSIDE, "reversal -> resolved"),
    **_each(FIRM, "outcome PaymentGateway.create_refund: NotExecuted key_in_use"),
}
NOT_CALLED: Mapping[str, str] = {
    "StripeBooks": RECONCILIATION,
    "OurRows": RECONCILIATION,
    "SeenTransfers": RECONCILIATION,
    "RecordedTransfers": OTHER_SYSTEM,
    "PaidRows": OTHER_SYSTEM,
    "WebhookBodies": "only the removal of old webhooks calls it, and it does not run in a schedule",
}
"""Ports that no schedule calls, each with the reason. All others are in `kinds.py`."""
