"""The buyer's payment: created at the PSP, under a name of ours. Asking for it again is safe, and reads it back."""

from application.commands.orders import TransferLedger
from application.commands.psp_word import ANSWERED
from application.gateways import PaymentGateway
from domain.errors import PspRefused, PspSilent
from domain.provider_call.outcome import NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import PaymentAtPsp


async def create_payment(ledger: TransferLedger, psp: PaymentGateway, order_id: str) -> PaymentAtPsp:
    """Intent first, then the call. What its answer shows as paid is recorded, should the webhook be late or lost.

    Raises UnknownId, Refused, PspRefused, PspSilent (it may or may not exist there: ask again), ContentDiffers.
    """
    body = await ledger.request_payment(order_id)
    answer = await psp.create_payment(order_id, body)
    match answer:
        case Rejected():
            raise PspRefused(f"a payment for order {order_id!r}", f"{answer.code or answer.status}: {answer.message}")
        case NotExecuted() | Unknown():
            raise PspSilent(f"the payment of order {order_id!r}", answer.message)
    if answer.status == "succeeded":
        received = answer.amount if answer.amount_received is None else answer.amount_received
        await ledger.record_payment(order_id, answer.payment_id, None, ANSWERED, expected=(received, answer.currency))
    return answer
