"""What the use cases need from the PSP, with the obligations that every implementation must meet."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.provider_call.outcome import Failure
from domain.provider_call.psp_objects import PaymentAtPsp, RefundAtPsp
from domain.provider_call.request_body import PaymentBody, RefundBody


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
