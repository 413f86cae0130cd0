"""Gateway ports: Stripe and the PSP, with the obligations of every implementation.

tests/contracts holds the implementations to the obligations written here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.provider_call.outcome import Failure, Outcome
from domain.provider_call.psp_objects import PaymentAtPsp, RefundAtPsp
from domain.provider_call.request_body import PaymentBody, RefundBody, TransferBody
from domain.provider_call.stripe_objects import TransferAtStripe


class Listed(NamedTuple):
    """A transfer in a list of Stripe's, with its newest reversals only where they do not add up to `amount_reversed`."""

    transfer: TransferAtStripe
    created_at: datetime
    order_id: str | None = None
    """Out of its metadata."""
    transfer_group: str | None = None


class Page(NamedTuple):
    """A part of a list, newest first."""

    listed: Sequence[Listed]
    more: bool


class StripeBooks(Protocol):
    """What a reconciliation reads at Stripe. Obligation: an incomplete answer raises `LookUpFailed`, never looks like less."""

    async def page(self, since: datetime, until: datetime, after: str | None, destination: str | None = None) -> Page:
        """All transfers made from `since` on and before `until`, whosever they are; those that follow after `after`.

        With a `destination`, only those to it.
        """
        ...

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """See `TransferGateway`."""
        ...


class TransferGateway(Protocol):
    """Stripe's transfers. Every method may be repeated with the same key without moving money twice.

    Obligations: never raises for anything Stripe or the network does, the answer is an `Outcome`; never retries by itself;
    an answer counts as `Succeeded` only when id prefix, amount, currency and (for reversals) transfer agree with the request;
    a cancelled caller's task is cancelled, and the caller has to treat the call as `Unknown`.
    """

    async def create(self, body: TransferBody, key: str) -> Outcome:
        """Pay a seller. `Succeeded.stripe_id` is the transfer's `tr_…` id. `key` is the idempotency key."""
        ...

    async def reverse(
        self, stripe_transfer_id: str, amount: int | None, reason: str, key: str, metadata: dict[str, str] | None = None
    ) -> Outcome:
        """Take `amount` (minor units) back from a transfer. `Succeeded.stripe_id` is the reversal's `trr_…` id.

        None means all that is left; it is resolved by reading the transfer before the body is frozen and sent.
        """
        ...

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """The transfer with all its reversals, every page of them.

        Raises `NotAtStripe` when Stripe says there is none, `LookUpFailed` for anything less than a complete answer.
        """
        ...

    async def find_by_our_id(self, transfer_id: str, destination: str, since: datetime) -> Sequence[TransferAtStripe]:
        """All transfers to `destination` created at or after `since` whose metadata carries our `transfer_id`.

        Reads every page; an incomplete answer raises `LookUpFailed`, since a page not read says nothing about its content.
        """
        ...

    async def find_similar(self, destination: str, currency: str, amount: int, since: datetime) -> Sequence[TransferAtStripe]:
        """All transfers of this currency (upper case) and amount to `destination` created at or after `since`, whosever they
        are, without their reversals. Reads every page, like `find`."""
        ...

    async def answers(self) -> bool:
        """Whether Stripe answers at all, with anything below 500: one cheap read that moves nothing."""
        ...

    async def get_object(self, path: str, account: str | None = None) -> Mapping[str, object]:
        """The object at this path of Stripe's API, on behalf of a connected account where one is given.

        Raises `NotAtStripe` and `LookUpFailed` as `get_transfer` does.
        """
        ...

    async def account(self) -> str | None:
        """The id of the platform account behind the key; None where Stripe does not tell. Raises `LookUpFailed`."""
        ...


class PaymentGateway(Protocol):
    """The PSP's payments and refunds. Every method may be repeated with the same names without moving money twice.

    Obligations: never raises for anything the PSP or the network does, the answer is the PSP's object or a `Failure`;
    never retries by itself; an object is answered only when its names, amount and currency agree with the request;
    a cancelled caller's task is cancelled, and the caller has to treat the call as `Unknown`.
    An object's status says how far the PSP is, so an object is no success by itself: a refund may well be `failed`.
    """

    async def create_payment(self, idempotency_key: str, body: PaymentBody) -> PaymentAtPsp | Failure:
        """Open a payment. The key is the order's id, sent as `Idempotency-Key`; the body is frozen, and is sent as it is.

        The PSP itself goes by `payment_id`: one that it has already is read back and answered as if it were made now.
        Raises ValueError for an empty key or a name the PSP does not take, before anything is sent.
        """
        ...

    async def create_refund(self, idempotency_key: str, body: RefundBody, currency: str) -> RefundAtPsp | Failure:
        """Give a buyer money back. The key is the refund's id, sent as `Idempotency-Key`; else like `create_payment`.

        `currency` is the payment's: the body has none, and the answer must agree with it.
        """
        ...

    async def payment(self, payment_id: str) -> PaymentAtPsp | Failure:
        """The payment as it is now, asked anew at whoever carries it out. Absent is `Rejected` with status 404."""
        ...

    async def refund(self, refund_id: str) -> RefundAtPsp | Failure:
        """The refund as it is now, asked anew at whoever carries it out. Absent is `Rejected` with status 404."""
        ...

    async def refunds(self, since: datetime, until: datetime, payment_id: str | None = None) -> Sequence[RefundAtPsp] | Failure:
        """All refunds created in the window, of one payment or of all.

        Complete, or a `Failure`: a list with a hole would say that a refund is not there. `Unknown("incomplete")` asks
        for a smaller window or another reading.
        """
        ...
