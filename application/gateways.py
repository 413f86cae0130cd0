"""Gateway ports: Stripe and the PSP, with the obligations of every implementation.

tests/contracts holds the implementations to the obligations written here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.provider_call.outcome import Failure, Outcome, ReversalOutcome
from domain.provider_call.psp_objects import DisputeAtPsp, PaymentAtPsp, RefundAtPsp
from domain.provider_call.request_body import PaymentBody, RefundBody, TransferBody
from domain.provider_call.stripe_objects import ChargeAtStripe, TransferAtStripe


class ListedTransfer(NamedTuple):
    """A transfer in a list of Stripe's. If it contains only the newest reversals, they do not add
    up to `amount_reversed`."""

    transfer: TransferAtStripe
    created_at: datetime
    order_id: str | None = None
    """Our id of the order in its metadata."""
    transfer_group: str | None = None
    """Stripe's own (`group_pi_…`) if the transfer has a source."""
    source_transaction: str | None = None

    def unclaimed(self) -> "ListedTransfer":
        """Return the transfer without anything by which it could be taken for one of ours."""
        transfer = self.transfer._replace(transfer_id=None)
        return self._replace(transfer=transfer, order_id=None, transfer_group=None)


class UnreadableTransfer(NamedTuple):
    """A listed transfer with a member that the ledger cannot read, as transfers of strangers may
    have. It counts as an incomplete answer only if it is ours."""

    stripe_transfer_id: str
    transfer_id: str | None
    """Our id in its metadata."""
    why: str


class Page(NamedTuple):
    """A part of a list, newest first."""

    listed: Sequence[ListedTransfer]
    more: bool
    unreadable: Sequence[UnreadableTransfer] = ()
    last: str | None = None
    """Stripe's id of the last transfer, readable or not: the next page begins after it."""


class StripeBooks(Protocol):
    """Stripe's records, as a reconciliation reads them. Obligation: an incomplete answer raises
    `LookUpFailed`."""

    async def page(
        self, since: datetime, until: datetime, after: str | None, destination: str | None = None
    ) -> Page:
        """Read transfers made from `since` on and before `until`, also those of other systems,
        beginning after `after`.

        With a `destination`, read only the transfers to that account.
        """

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """Read one transfer, as `TransferGateway.get_transfer` does."""


class TransferGateway(Protocol):
    """Stripe's transfers. Every method may be repeated with the same key without moving money
    twice.

    Obligations: no error of Stripe or the network is raised by `create` and `reverse`, the answer
    is an `Outcome`. No call is retried. An answer is `Succeeded` only if id prefix, amount,
    currency and (for reversals) transfer agree with the request. If the caller is cancelled, the
    call's task is cancelled, and the caller has to treat the outcome as `Unknown`.
    """

    async def create(self, body: TransferBody, key: str) -> Outcome:
        """Pay a seller. `key` is the idempotency key; `Succeeded.stripe_id` is the id of the
        transfer, `tr_…`."""

    async def reverse(
        self,
        stripe_transfer_id: str,
        amount: int | None,
        reason: str,
        key: str,
        metadata: dict[str, str] | None = None,
        currency: str = "",
    ) -> ReversalOutcome:
        """Take `amount` (minor units of `currency`, as the ledger counts them) back from a
        transfer. `Succeeded.stripe_id` is the id of the reversal, `trr_…`. A reversal that has
        failed or was canceled is `Rejected`.

        None means the whole amount left; it is read from the transfer before the body is frozen and
        sent.
        """

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """Read the transfer with all pages of its reversals.

        Raises `NotAtStripe` if Stripe answers that there is none, and `LookUpFailed` for anything
        less than a full answer.
        """

    async def find_by_our_id(
        self, transfer_id: str, destination: str, since: datetime
    ) -> Sequence[TransferAtStripe]:
        """Find the transfers to `destination`, created at or after `since`, with our `transfer_id`
        in their metadata, and the compensations of it (see `TransferAtStripe.gives_back`).

        All pages are read. An incomplete answer raises `LookUpFailed`, since an unread page may
        contain the transfer.
        """

    async def find_similar(
        self, destination: str, currency: str, amount: int, since: datetime
    ) -> Sequence[TransferAtStripe]:
        """Find the transfers of this currency (upper case) and amount to `destination`, created at
        or after `since`.

        They include those of other systems, and come without their reversals. All pages are read,
        as in `find_by_our_id`.
        """

    async def answers(self) -> bool:
        """Return whether Stripe answers below 500 to one cheap read, which moves nothing."""

    async def get_object(self, path: str, account: str | None = None) -> Mapping[str, object]:
        """Read the object at this path of Stripe's API, on behalf of a connected account if one is
        given.

        Raises `NotAtStripe` and `LookUpFailed` as `get_transfer` does.
        """

    async def account(self) -> str | None:
        """Return the id of the platform account of the API key; None if Stripe does not show it.
        Raises `LookUpFailed`."""


class ChargeReader(Protocol):
    """Stripe's charges of the payments that a PSP has made through its Stripe connector."""

    async def charge(self, payment: str) -> ChargeAtStripe | Failure | None:
        """Read the charge of a PaymentIntent (`pi_…`), or the charge itself (`ch_…`, `py_…`); None
        if the PaymentIntent has no charge yet.

        Obligations: no error of Stripe or the network is raised, and nothing is changed at Stripe.
        A payment that our key cannot read is `Rejected`, or `NotExecuted` because it is forbidden.
        """


class PaymentGateway(Protocol):
    """The PSP's payments, refunds and disputes. Every method may be repeated with the same names
    without moving money twice.

    Obligations: no error of the PSP or the network is raised, the answer is the PSP's object or a
    `Failure`. No call is retried. An object is returned only if its names, amount and currency
    agree with the request. If the caller is cancelled, the call's task is cancelled, and the caller
    has to treat the outcome as `Unknown`. An object alone is no success: its status shows the
    progress at the PSP, and a refund may be `failed`.
    """

    async def create_payment(
        self, idempotency_key: str, body: PaymentBody
    ) -> PaymentAtPsp | Failure:
        """Open a payment. The key is the order's id, sent as `Idempotency-Key`; the frozen body is
        sent unchanged.

        The PSP identifies a payment by `payment_id`: an existing one is read and returned as if it
        were new. Raises ValueError, before anything is sent, for an empty key or a name that the
        PSP does not take.
        """

    async def create_refund(
        self, idempotency_key: str, body: RefundBody, currency: str
    ) -> RefundAtPsp | Failure:
        """Refund a buyer. The key is the refund's id; otherwise like `create_payment`.

        `currency` is that of the payment: the body has none, and the answer must agree with it.
        """

    async def payment(self, payment_id: str) -> PaymentAtPsp | Failure:
        """Read the payment as its connector shows it now. An absent one is `Rejected` with status
        404."""

    async def refund(self, refund_id: str) -> RefundAtPsp | Failure:
        """Read the refund as its connector shows it now. An absent one is `Rejected` with status
        404."""

    async def refunds(
        self, since: datetime, until: datetime, payment_id: str | None = None
    ) -> Sequence[RefundAtPsp] | Failure:
        """Read all refunds created in the window, of one payment or of all.

        The list is complete, or the answer is a `Failure`: a gap would look like an absent refund.
        `Unknown("incomplete")` asks for a smaller window or for a repetition.
        """

    async def disputes(self, since: datetime, until: datetime) -> Sequence[DisputeAtPsp] | Failure:
        """Read the disputes that the PSP received in the window.

        The list is cut into pages by offset, without a total: a dispute may be missing that moved
        to another page meanwhile.
        """
