"""Members and parameters of the API by their names: one description and one example each.

A name has the same meaning wherever it occurs; `<schema>.<name>` describes an exception.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from domain.dispute import DisputeStatus
from domain.finding import DifferenceKind
from domain.lifecycle import TransferStatus
from domain.payout import PayoutStatus
from domain.refund.state import RefundStatus
from domain.seller_transfer.reversal import ReversalStatus
from projections.orders import OrderStatus


class Described(NamedTuple):
    """Description, example and known values of a member. Without values: any."""

    text: str
    example: Any = None
    values: tuple[str, ...] = ()


_D = Described
_AT, _ID = "2026-12-01T09:30:00Z", "5b8c1f6e-0d4e-5c59-9a0e-3f5d3c1b7a10"
_WAITS = ("transfer", "reversal", "operator", "funds", "stripe", "charge", "account", "payment")
_INBOX = ("stored", "done", "ignored", "parked", "dead", "discarded")
_PROVIDERS = ("stripe", "hyperswitch")
_STREAMS = ("order", "refund", "seller_transfer")

IDS: Final[Mapping[str, Described]] = {
    "order_id": _D("The marketplace's id of the order.", "order-1042"),
    "refund_id": _D("Id of the refund; of a dispute: `dispute <id>`.", "refund-77"),
    "seller_id": _D("The marketplace's id of the seller.", "ada"),
    "transfer_id": _D("The ledger's id of the transfer.", _ID),
    "reversal_id": _D("The ledger's id of the reversal.", _ID),
    "dispute_id": _D("The provider's id of the dispute.", "dp_1PxY"),
    "finding_id": _D(
        "Id of the finding: the same as long as its amounts are.", "external_reversal-0a1b2c3d4e5f"
    ),
    "inbox_id": _D("Number of the stored webhook.", 42),
    "payment_id": _D("Id of the payment at the payment provider.", "pay_1042"),
    "psp_refund_id": _D("Id of the refund at the payment provider.", "ref_77"),
    "payout_id": _D("Stripe's id of the payout.", "po_1PxY"),
    "event_id": _D("The provider's id of the event.", "evt_1PxY"),
    "destination": _D("The seller's account at Stripe.", "acct_1ada"),
    "account": _D("Account at Stripe.", "acct_1platform"),
    "source_transaction": _D("Stripe's charge that funds the transfers.", "ch_1PxY"),
    "connector_payment": _D("The payment at the PSP's connector, behind Stripe `pi_…`.", "pi_1PxY"),
    "stripe_id": _D("Object at Stripe: `tr_…` of a transfer, `trr_…` of a reversal.", "tr_1PxY"),
    "stripe_transfer_id": _D("Stripe's id of the transfer.", "tr_1PxY"),
    "stripe_reversal_id": _D("Stripe's id of the reversal.", "trr_1PxY"),
    "request_id": _D("Stripe's id of the request.", "req_1PxY"),
    "stream_id": _D("Id of the stream of facts.", _ID),
    "process": _D("Id of the process, new at each start.", _ID),
    "key": _D("Idempotency key of the call that the fact begins or ends.", f"transfer:{_ID}:e1"),
    "subject": _D("Stream, webhook or scope that the entry is about.", _ID),
    "StoredWebhook.subject": _D("Key that a parked webhook waits for.", "order:order-1042"),
    "WebhookEntry.subject": _D("Key that a parked webhook waits for.", "order:order-1042"),
    "MoneyEntry.subject": _D("Id of the transfer, of the reversal or of the dispute.", _ID),
    "subject_kind": _D(
        "Kind of the subject; null for another one, such as a provider.",
        "transfer",
        ("transfer", "order", "refund", "dispute", "webhook", "pause"),
    ),
    "subject_id": _D("The subject under the id that callers use.", _ID),
    "id": _D("Id of the thing that was found.", _ID),
}
"""Names of things."""

MONEY: Final[Mapping[str, Described]] = {
    "amount": _D("Amount in minor units, such as cents.", 1000),
    "Movement.amount": _D("Signed: above 0 if the seller receives it. Minor units.", 1000),
    "amount_received": _D("Amount that the payment received, in minor units.", 1000),
    "amount_reversed": _D("Amount that was taken back, in minor units.", 0),
    "currency": _D("ISO 4217 code.", "EUR"),
    "collected": _D("Amount that the payment received; null until the order is paid.", 1000),
    "refunded": _D("Sum of the refunds, in minor units.", 0),
    "transferred": _D("Sum of all paid transfers, in minor units.", 1000),
    "reversed": _D("Sum of all reversals that took money, in minor units.", 0),
    "reversal_pending": _D("Sum of the open reversals, in minor units.", 0),
    "stuck": _D("Owed back, and waits for a person, in minor units.", 0),
    "owed": _D("Owed back by reversals that are under way, in minor units.", 400),
    "to_send": _D("Transfers that are not sent yet, in minor units.", 0),
    "to_sellers": _D("The part that is to be sent to sellers, in minor units.", 0),
    "from_sellers": _D("The part that sellers owe back, in minor units.", 400),
    "up_to_1_day": _D("Owed back for at most one day, in minor units.", 400),
    "up_to_7_days": _D("Owed back for one to seven days, in minor units.", 0),
    "up_to_30_days": _D("Owed back for seven to thirty days, in minor units.", 0),
    "older": _D("Owed back for more than thirty days, in minor units.", 0),
    "at_risk": _D("Amount of the difference or condition, in minor units.", 400),
    "AlarmCauseShown.at_risk": _D("Money behind the alarms, by currency."),
    "opening": _D("Balance at the beginning of the period, in minor units.", 0),
    "closing": _D("Balance at the end of the period, in minor units.", 1000),
    "min_amount": _D("Only transfers of at least this amount, in minor units.", 1000),
    "balances": _D("One balance for each currency."),
    "money": _D("Open money: one entry for each currency, and of the overview for each state."),
    "accounts": _D("One account for each currency."),
    "movements": _D("Movements of money, oldest first."),
}
"""Amounts, all of them integers in minor units."""

TIMES: Final[Mapping[str, Described]] = {
    "at": _D("Instant of the entry, in UTC.", _AT),
    "created_at": _D("Instant of the first fact.", _AT),
    "updated_at": _D("Instant of the newest fact.", _AT),
    "evidence_due_by": _D("Until when the provider wants evidence; null if unknown.", _AT),
    "received_at": _D("When the webhook arrived.", _AT),
    "handled_at": _D("When the webhook was closed.", _AT),
    "due_at": _D("When the webhook is handled next.", _AT),
    "next_retry_at": _D("When the next step is due; null if none is.", _AT),
    "raised_at": _D("Beginning of the condition.", _AT),
    "last_seen_at": _D("When the condition was noticed last.", _AT),
    "cleared_at": _D("End of the condition; null while it lasts.", _AT),
    "arrival_date": _D("When Stripe expects the money at the bank.", _AT),
    "oldest_at": _D("Beginning of the oldest amount; null if there is none.", _AT),
    "oldest_seconds": _D("Age of the oldest amount, in seconds.", 3600.5),
    "oldest_debt_at": _D("Beginning of the oldest debt.", _AT),
    "age_seconds": _D("Age of the oldest alarm, in seconds.", 3600.5),
    "deadline": _D(
        "When the ledger gives up by itself, or until when a person has to act; null if never.", _AT
    ),
    "stripe_since": _D("Beginning of the outage or of the refusals.", _AT),
    "probe_at": _D("When Stripe is asked next during an outage.", _AT),
    "slowed_at": _D("When Stripe last refused calls that came too fast.", _AT),
    "started_at": _D("Start of the process.", _AT),
    "reported_at": _D("Last report of the process.", _AT),
    "progressed_at": _D("End of the loop's last turn without an error.", _AT),
    "checked_at": _D("End of the last poll for lost webhooks.", _AT),
    "seen_until": _D("All events from before this instant are stored.", _AT),
    "finished_at": _D("End of the last run of the check; null if it never ran.", _AT),
    "found_at": _D("When a reconciliation found it last.", _AT),
    "decided_at": _D("When a person decided last.", _AT),
    "since": _D("Creation of the transfer, reversal or dispute.", _AT),
    "created_from": _D("Only entries created at or after this instant.", _AT),
    "created_to": _D("Only entries created before this instant.", _AT),
    "updated_since": _D("Only entries changed at or after this instant.", _AT),
    "as_of": _D("Show the state at this instant.", _AT),
    "from": _D("Beginning of the period, part of it.", "2026-11-01T00:00:00Z"),
    "to": _D("End of the period, not part of it.", "2026-12-01T00:00:00Z"),
    "period": _D(
        "The instants `from` (included) and `to` (excluded).",
        {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"},
    ),
    "inbox_lag_seconds": _D("Age of the oldest webhook that is due, in seconds.", 0.0),
    "reserved_seconds": _D("Seconds until the next free instant of the limiter.", 0.0),
}
"""Instants, in UTC, and durations, in seconds."""

STATES: Final[Mapping[str, Described]] = {
    "status": _D("Present status.", "completed"),
    "Transfer.status": _D("Present status.", "completed", tuple(TransferStatus)),
    "TransferListQuery.status": _D("Only transfers of this status.", "completed"),
    "Reversal.status": _D("Present status.", "reversed", tuple(ReversalStatus)),
    "Part.status": _D(
        "Status of the reversal; `reduced` or `cancelled` if less is sent instead.",
        "reversed",
        (*ReversalStatus, "reduced", "cancelled", "waiting_for_payment"),
    ),
    "Order.status": _D("Whether the buyer has paid.", "paid", tuple(OrderStatus)),
    "OrderEntry.status": _D("Whether the buyer has paid.", "paid", tuple(OrderStatus)),
    "OrdersQuery.status": _D("Only orders of this status.", "paid"),
    "Refund.status": _D("Present status.", "succeeded", tuple(RefundStatus)),
    "RefundEntry.status": _D("Present status.", "succeeded", tuple(RefundStatus)),
    "RefundsQuery.status": _D("Only refunds of this status.", "succeeded"),
    "Dispute.status": _D("Status at the provider.", "opened", tuple(DisputeStatus)),
    "DisputesQuery.status": _D("Only disputes of this status.", "opened"),
    "Payout.status": _D("Stripe's word.", "paid", tuple(PayoutStatus)),
    "Payment.status": _D("The payment provider's word.", "requires_payment_method"),
    "StoredWebhook.status": _D("Present status.", "parked", _INBOX),
    "WebhookEntry.status": _D("Present status.", "parked", _INBOX),
    "InboxQuery.status": _D("Only webhooks of this status.", "parked"),
    "Finding.status": _D("Last decision.", "noted", ("noted", "ignored", "adopted")),
    "FindingShown.status": _D(
        "Last decision; `noted` if it was taken back.",
        "undecided",
        ("undecided", "noted", "ignored", "adopted"),
    ),
    "FindingsQuery.status": _D("Only findings with this decision.", "undecided"),
    "Problem.status": _D("HTTP status.", 409),
    "Alive.status": _D("Always `alive`.", "alive"),
    "waiting_for": _D("Event that it waits for; null if for none.", "funds", _WAITS),
    "Hit.waiting_for": _D("Event that it waits for; of a webhook, its key.", "funds"),
    "Hit.status": _D("Present status; null for a thing without one.", "completed"),
    "MoneyEntry.status": _D("Status of the transfer, reversal or dispute.", "requested"),
    "TransferListQuery.waiting_for": _D("Only transfers that wait for this.", "funds"),
    "state": _D("State of money that is not settled.", "moving"),
    "direction": _D("Direction of the open amount.", "from_sellers"),
    "kind": _D("Kind of the entry.", "permanently_failed"),
    "Movement.kind": _D(
        "Cause of the movement.", "paid", ("paid", "reversed", "external_reversal", "taken_over")
    ),
    "Hit.kind": _D(
        "Kind of the thing.",
        "transfer",
        ("transfer", "order", "refund", "dispute", "seller", "payout", "webhook", "finding"),
    ),
    "FindingShown.kind": _D("Kind of the difference.", "amount", tuple(DifferenceKind)),
    "FindingsQuery.kind": _D("Only differences of this kind.", "amount"),
    "provider": _D("Provider that sent or assigned it.", "stripe", _PROVIDERS),
    "source": _D("`poller` if its webhook was lost.", "webhook", ("webhook", "poller")),
    "stream": _D("Kind of the stream.", "seller_transfer"),
    "OrderHistoryEntry.stream": _D("Kind of the stream.", "seller_transfer", _STREAMS),
    "mode": _D("Where money moves.", "live", ("simulator", "test", "live")),
    "stripe": _D("Whether Stripe executes the calls.", "answering"),
    "check": _D("Name of the check.", "verify", ("verify", "reconcile", "seal")),
    "open": _D("Only entries that are not closed.", True),
    "settled": _D("True if the refund succeeded elsewhere.", True),
    "dismiss": _D("True to take nothing, ever.", False),
    "paused": _D("True while the scope is paused.", True),
    "alive": _D("True if the process reported lately.", True),
    "can_write": _D("True if the ledger takes writes.", True),
    "ready": _D("True if the process can serve.", True),
    "received": _D("Always true.", True),
    "prefix": _D("True if the ids only begin with the text.", False),
    "cleared": _D("True for the latest alarms, cleared ones included.", False),
    "in_call": _D("Transfers with an open call, which keep their account until its outcome.", 0),
}
"""Statuses, kinds and switches."""

TEXTS: Final[Mapping[str, Described]] = {
    "actor": _D("Person or program that acts.", "mia"),
    "reason": _D("Reason, in the words of its author.", "agreed with the seller"),
    "evidence": _D("Object at Stripe, or a reference to another record.", "tr_1PxY"),
    "last_error": _D("The last error, in the provider's words.", "Insufficient funds."),
    "error": _D("The provider's message.", "Insufficient funds."),
    "TransferListQuery.error": _D("Only transfers whose last error has this text.", "funds"),
    "detail": _D("Explanation for a person.", "Others reversed 4.00 EUR at Stripe."),
    "stripe_detail": _D("Stripe's words.", "Invalid API Key provided."),
    "sentence": _D("One sentence: the condition or change, and the next step.", "Add funds."),
    "obstacle": _D("Why it cannot be adopted; null if it can.", "the currencies differ"),
    "trouble": _D("Why the loop makes no progress; null if it does.", "its turn has lasted 130 s"),
    "runbook": _D("Section of the runbook, below docs/.", "runbook.md#alarm-awaiting_funds"),
    "body": _D("The body as it was received; empty once it was removed.", "{}"),
    "by": _D("`api`, `worker`, a person, `stripe:<id>`, or `<provider>:<event>`.", "worker"),
    "fact": _D("Name of the fact.", "Completed"),
    "event_type": _D("The provider's type of the event.", "payout.paid"),
    "scope": _D("Scope of the pause.", "seller:ada"),
    "work": _D("Kind of work.", "reversing"),
    "loop": _D("Name of the loop.", "reversing"),
    "host": _D("Name of the machine.", "ledger-1"),
    "endpoint": _D("Endpoint of the provider.", "transfers.create"),
    "matched": _D("Member that has the text.", "stripe_transfer_id"),
    "q": _D("Ids, at most 50: of anything, from anywhere.", "tr_1PxY order-1042"),
    "query": _D("The text that was searched.", "tr_1PxY"),
    "sort": _D("Order of the list.", "debt"),
    "cursor": _D("`next_cursor` of the page before.", "1764581400000000~order-1042"),
    "TransferListQuery.cursor": _D(
        "`next_cursor` of the page before.", "AAZPeaKABGjtAAAAAAAAAAAAAAAAAAAAA"[:32]
    ),
    "InboxQuery.cursor": _D("`next_cursor` of the page before.", "42"),
    "SellersQuery.cursor": _D("`next_cursor` of the page before.", "1000~ada"),
    "next_cursor": _D("Send it as `cursor` for the next page; null on the last.", "42"),
    "client_secret": _D("Secret of the buyer's browser; show it to no other party.", "cs_1"),
    "title": _D("Short name of the problem.", "The same id with other content"),
    "type": _D("Kind of the problem, as a URN.", "urn:problem-type:transfer-ledger:refused"),
    "code": _D("Stable code of the problem.", "refused"),
    "instance": _D("Id of this occurrence, in the log.", f"urn:uuid:{_ID}"),
    "Stripe-Signature": _D("Stripe's signature over the body.", f"t=1764581400,v1={'0' * 64}"),
    "X-Webhook-Signature-512": _D("Hyperswitch's signature over the body.", "0" * 128),
    "levers": _D("Actions that may end the condition.", ["retry", "resolve"]),
    "reasons": _D("Why the process cannot serve.", ["the database is read only"]),
    "payload": _D("Members of the fact.", {"amount": 1000}),
    "errors": _D("Members that are not valid.", [{"in": "body", "at": "/amount"}]),
}
"""Texts for people and programs."""

NUMBERS: Final[Mapping[str, Described]] = {
    "limit": _D("Most entries of the answer.", 50),
    "count": _D("Number of entries or occurrences.", 1),
    "version": _D("Number of facts in the stream.", 3),
    "position": _D("Position in the ledger.", 1024),
    "after": _D("Position after which the feed begins.", 1024),
    "next_after": _D("Position for the next call.", 1124),
    "as_of_position": _D("Show the state at this position.", 1024),
    "retry_count": _D("Attempts that were repeated.", 0),
    "attempts": _D("Attempts that failed.", 1),
    "TransferListQuery.attempts": _D("Only transfers with so many repeated attempts.", 3),
    "redirected": _D("Transfers that go to the new account.", 2),
    "pid": _D("Number of the process on its machine.", 4711),
    "findings": _D("Number of findings of the run.", 0),
    "stored": _D("Webhooks that are due.", 0),
    "parked": _D("Webhooks that wait for their order.", 0),
    "dead": _D("Webhooks that were given up.", 0),
    "missed": _D("Events that no webhook delivered.", 0),
    "replayed": _D("Those of them that are handled.", 0),
    "open_alarms": _D("Number of open alarms.", 0),
    "limit_per_second": _D("Calls per second that are allowed now.", 20.0),
    "used_per_second": _D("Calls per second of the last seconds.", 3.5),
}
"""Counts and positions."""

PLANS: Final[Mapping[str, Described]] = {
    "job_id": _D("The caller's id of the bulk job.", "retry-2026-12-01"),
    "Bulk.kind": _D(
        "Action on each target.", "retry", ("retry", "replay_webhooks", "discard_webhooks")
    ),
    "BulkWebhooks.kind": _D("Action on each webhook.", "replay_webhooks"),
    "BulkWebhooks.status": _D("Progress; planned: a dry run.", "planned"),
    "BulkWebhooks.filter": _D("Members of the filter that are set.", {"status": "parked"}),
    "BulkWebhooksIn.filter": _D("Webhooks that the job concerns.", {"status": "parked"}),
    "WebhookFilterIn.status": _D("Only webhooks of this status.", "parked"),
    "WebhookFilterIn.reason": _D("Beginning of the reason.", "the order is unknown"),
    "inbox_ids": _D("Numbers of the first webhooks of a dry run.", [42]),
    "received_from": _D("Only webhooks that arrived at or after this instant.", _AT),
    "received_to": _D("Only webhooks that arrived before this instant.", _AT),
    "Bulk.status": _D(
        "Progress of the job; planned: a dry run.",
        "running",
        ("planned", "running", "cancelled", "ended"),
    ),
    "total": _D("Number of transfers that matched when the job began.", 312),
    "done": _D("Number of transfers that are handled.", 40),
    "refused": _D("Number of handled transfers whose retry the ledger refused.", 2),
    "last_refusal": _D("Sentence of the last refusal.", "It is final, so nothing is to retry."),
    "Bulk.filter": _D("Members of the filter that are set.", {"status": "permanently_failed"}),
    "BulkRetryIn.filter": _D("Transfers that the job concerns.", {"status": "permanently_failed"}),
    "dry_run": _D("Count the matches, and begin nothing.", False),
    "ended_at": _D("End of the job.", _AT),
    "sample": _D("First transfers of a dry run.", [_ID]),
    "refusals": _D("The first 100 refusals."),
    "BulkRefusal.reason": _D("Sentence of the refusal.", "It is final, so nothing is to retry."),
    "cancelled_by": _D("Actor that ended the job early.", "mia"),
    "cancel_reason": _D("Reason of that.", "the accounts are not ready"),
    "Bulk.money": _D("Open money of all transfers of a dry run."),
    "BulkList.data": _D("The jobs, newest first."),
    "BulkMoney.amount": _D("Sum in minor units.", 123_450),
    "BulkMoney.number": _D("Number of amounts.", 12),
    "at_most": _D("Largest number of transfers that the caller expects.", 312),
    "BulkFilterIn.status": _D("Only transfers with this status.", "permanently_failed"),
    "BulkFilterIn.error": _D("A part of the last error, in any case.", "not_found"),
    "schemas": _D("Schemas by topic.", {"ledger.order.paid": {"type": "object"}}),
    "topic": _D("Permanent name of the fact.", "ledger.order.paid"),
    "wait": _D("Seconds to wait for a first fact.", 1),
    "Last-Event-ID": _D("Position of the last fact that the caller has; replaces after.", "42"),
    "WhatIf.kind": _D("The planned event.", "refund", ("refund", "dispute")),
    "WhatIfIn.kind": _D("The planned event.", "refund", ("refund", "dispute")),
    "residue": _D("Amount that the platform bears, in the order's currency.", 4),
    "sellers": _D("Part of each seller."),
    "steps": _D("Facts that would be added to the transfers."),
    "sentences": _D("The effect in sentences.", ["A refund takes 6 cents from seller ada."]),
    "share": _D("The seller's share of the order.", 33),
    "before": _D("Amount that all refunds and disputes until now take.", 0),
    "WhatIfSeller.amount": _D("Amount that this one takes.", 3),
    "WhatIfSeller.after": _D("Both together, at most the share.", 3),
    "WhatIfStep.amount": _D("Amount that the fact moves, if it moves one.", 3),
}
"""Members of plans: bulk jobs, the feed's waits, and forecasts."""

LISTS: Final[Mapping[str, Described]] = {
    "data": _D("The entries."),
    "shares": _D("The sellers' shares."),
    "transfers": _D("The transfers of the order, oldest first."),
    "refunds": _D("The refunds of the order, oldest first."),
    "reversals": _D("The reversals of the transfer, oldest first."),
    "allocation": _D("The part of each seller."),
    "trend": _D("Open money at the quarter hours of the last day."),
    "alarms": _D("Open alarms by cause, the ones with the most money and age first."),
    "examples": _D("The alarms with the most money."),
    "machine": _D("State of the machine."),
    "rates": _D("Use of the rate limits."),
    "loops": _D("Loops of the processes."),
    "MachineShown.missed": _D("Lost webhooks, by provider."),
    "MachineShown.inbox": _D("Webhooks that are not handled."),
    "checks": _D("The newest end of each check."),
    "hits": _D("The things that the text names."),
}
"""Members that consist of other schemas: their examples are made of those."""

MEMBERS: Final[Mapping[str, Described]] = {
    name: described
    for table in (LISTS, PLANS, NUMBERS, TEXTS, STATES, TIMES, MONEY, IDS)
    for name, described in table.items()
}
