"""Books as they stand, for an oracle that judges them: read-only, and free of the product's types.

Every property reads the present state. Amounts are in minor units, instants in epoch seconds of
virtual time. All objects are plain data.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]


class HeldReversal(NamedTuple):
    """A reversal that Stripe holds."""

    id: str
    transfer: str
    amount: int
    status: str | None
    """None and `succeeded` have moved money; `pending`, `failed` and `canceled` have not."""
    created: int
    metadata: Mapping[str, str]


class HeldTransfer(NamedTuple):
    """A transfer that Stripe holds."""

    id: str
    amount: int
    amount_reversed: int
    currency: str
    """In lower case, as Stripe writes it."""
    destination: str
    source_transaction: str | None
    created: int
    metadata: Mapping[str, str]
    reversals: Sequence[HeldReversal]


class StripeRequest(NamedTuple):
    """A POST that has reached Stripe, with the answer that Stripe gave."""

    number: int
    """1 for the first."""
    at: float
    path: str
    key: str | None
    """Idempotency key."""
    form: Mapping[str, str]
    """Decoded form, such as `metadata[order_id]`."""
    status: int
    """Status that Stripe answered; 0 without an answer."""
    answer: bytes
    answered: bool
    """True if an answer has left Stripe; it may be lost on its way."""


class HeldPayment(NamedTuple):
    """A payment that the PSP holds."""

    id: str
    order_id: str | None
    amount: int
    amount_received: int
    currency: str
    status: str


class HeldRefund(NamedTuple):
    """A refund that the PSP holds."""

    id: str
    payment_id: str
    amount: int
    currency: str
    status: str


class HeldDispute(NamedTuple):
    """A dispute that the PSP holds."""

    id: str
    payment_id: str
    amount: int
    currency: str
    status: str


class Acknowledged(NamedTuple):
    """A promise to the outside: a command or a webhook that was answered with success."""

    number: int
    at: float
    kind: str
    """`register`, `refund`, the kind of an operator's command, or `webhook`."""
    subject: str
    """Order id, refund id, transfer id or scope; `provider:event id` of a webhook."""
    details: Mapping[str, Any]
    """Members of the command; of a webhook `event_type` and `body` (its decoded JSON)."""
    lost: bool
    """True if a restore from a backup has taken it away: the promise is void, until it is given
    again."""


class StoredFactView(NamedTuple):
    """A fact in the ledger's database."""

    stream_id: str
    version: int
    position: int
    topic: str
    fact: Json
    """Decoded members."""


class Books(Protocol):
    """The view that an oracle gets."""

    @property
    def now(self) -> float: ...
    @property
    def step(self) -> str:
        """Sentence about the event that has just happened: the last line of the story."""

    @property
    def era(self) -> int:
        """Number of restores from a backup so far: each takes facts and rows away, so what was
        read incrementally has to be read again."""

    @property
    def phase(self) -> str:
        """`chaos` or `healing`."""

    # Stripe
    @property
    def transfers(self) -> Sequence[HeldTransfer]: ...
    @property
    def requests(self) -> Sequence[StripeRequest]:
        """Every POST that has reached Stripe, oldest first; it only grows."""

    @property
    def stripe_violations(self) -> Sequence[str]:
        """Errors in the simulator's own books."""

    @property
    def available(self) -> Mapping[str, Mapping[str, int]]:
        """Return the available balances at Stripe, by holder (`platform` or an account) and
        currency in lower case."""

    # the PSP
    @property
    def payments(self) -> Sequence[HeldPayment]: ...
    @property
    def refunds(self) -> Sequence[HeldRefund]: ...
    @property
    def disputes(self) -> Sequence[HeldDispute]: ...

    # the ledger
    @property
    def acknowledged(self) -> Sequence[Acknowledged]: ...
    def facts(self, after: int = 0) -> Sequence[StoredFactView]:
        """Return the stored facts with a higher position than `after`."""

    def rows(self, table: str) -> Sequence[Json]:
        """Return the rows of a read model (`seller_transfers`, `transfer_reversals`, `orders`,
        `refunds`, `disputes`, `payouts`, `pauses`, `findings`), of `alarms` or `webhook_inbox`."""

    @property
    def comparison(self) -> Sequence[str]:
        """Differences that the product's own comparison of the books finds (slow)."""
