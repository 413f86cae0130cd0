"""The view of the oracle: what both providers hold, what was acknowledged, and what is stored.

Everything is plain data, so that the oracle shares no code with the ledger. Amounts are in minor
units as their owner counts them, instants in epoch seconds. Sequences marked *log* only ever grow,
except that a restore from a backup cuts `facts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class Violation(NamedTuple):
    """One broken invariant: its permanent name, and one sentence with ids, amounts, the expected
    and the found state."""

    invariant: str
    sentence: str


@dataclass
class View:
    """All that the oracle sees at one instant."""

    now: float = 0.0
    transfers: Sequence[Json] = ()
    """Every transfer at Stripe, in the shape of Stripe's API, with all its `reversals` as a list."""
    requests: Sequence[Json] = ()
    """Log of the POST requests that reached Stripe: `operation` (`transfers.create` or
    `reversals.create`), `key`, `transfer` (of a reversal), `body` (the decoded form), `status`
    (None: no answer), `at`."""
    balances: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Amounts at Stripe by holder (`platform` or an account), bucket and currency."""
    accounts: Mapping[str, Json] = field(default_factory=dict)
    """Sellers' accounts at Stripe by id, each with `transfers_capability` and `deleted`."""
    payments: Sequence[Json] = ()
    """Payments at the PSP: `payment_id`, `amount`, `currency`, `status`, `amount_received`, and
    `order_id` from the metadata."""
    refunds: Sequence[Json] = ()
    """Refunds at the PSP: `refund_id`, `payment_id`, `amount`, `currency`, `status`."""
    disputes: Sequence[Json] = ()
    """Disputes at the PSP: `dispute_id`, `payment_id`, `amount`, `currency`, `status`."""
    calls: Sequence[Json] = ()
    """Log of the API calls that were answered with 2xx: `call` (`register`, `paid`, `refund`, ...)
    and its arguments."""
    webhooks: Sequence[Json] = ()
    """Log of the webhooks that were answered with 2xx: `provider` and `event_id`."""
    facts: Sequence[Json] = ()
    """Log of the stored facts in the order of their positions: `position`, `stream`, `version`,
    `topic`, and the members of the fact."""
    rows: Mapping[str, Sequence[Json]] = field(default_factory=dict)
    """Rows of each read model."""
    inbox: Sequence[Json] = ()
    """Rows of the webhook inbox: `provider`, `event_id`, `event_type`, `status`, `reason`."""
    alarms: Sequence[Json] = ()
    """Open alarms: `kind`, `subject`, `detail`."""
    restored: Sequence[int] = ()
    """Log of the restores from a backup: the last position that the backup held."""
