"""Charges of payments: which read at Stripe shows the charge, and the members that the ledger uses.

A member that is missing is read by itself. If Stripe refuses that read, the member stays unknown:
Stripe then checks the transfer itself.
"""

from collections.abc import Awaitable, Callable, Mapping

from domain.currency import whole_from_stripe
from domain.provider_call.outcome import Failure, LookUpFailed, NotExecuted, Rejected, Unknown
from domain.provider_call.stripe_objects import ChargeAtStripe
from infrastructure.redaction import clean
from infrastructure.stripe.response_checks import field

PAYMENT_INTENT = "pi_"
LINE = "balance_transaction"

Resource = Mapping[str, object]
Get = Callable[[str, str], Awaitable[Resource | Failure]]
"""Reads the object at a path of Stripe's API, with a linked object expanded."""


async def charge_of(payment: str, get: Get) -> ChargeAtStripe | Failure | None:
    """Read the charge of a PaymentIntent, or a charge; None if the PaymentIntent has none yet."""
    try:
        return await _charge_of(payment, get)
    except LookUpFailed as unread:
        return Unknown("unreadable", str(unread), 200)


async def _charge_of(payment: str, get: Get) -> ChargeAtStripe | Failure | None:
    if not payment.startswith(PAYMENT_INTENT):
        return await _with_line(await get(f"/v1/charges/{payment}", LINE), get)
    intent = await get(f"/v1/payment_intents/{payment}", f"latest_charge.{LINE}")
    if isinstance(intent, Rejected | NotExecuted | Unknown):
        return intent
    latest = intent.get("latest_charge")
    if isinstance(latest, Mapping):
        return await _with_line(latest, get)
    if not isinstance(latest, str) or not latest:
        return None
    charge = await get(f"/v1/charges/{latest}", LINE)
    if isinstance(charge, Rejected):
        return ChargeAtStripe(latest, *_money(intent, "amount_received"), "succeeded")
    return await _with_line(charge, get)


async def _with_line(charge: Resource | Failure, get: Get) -> ChargeAtStripe | Failure:
    """Return the charge with the amount and currency of its balance transaction, as far as Stripe
    shows them."""
    if isinstance(charge, Rejected | NotExecuted | Unknown):
        return charge
    line = charge.get(LINE)
    if isinstance(line, str) and line:
        read = await get(f"/v1/balance_transactions/{line}", "source")
        if isinstance(read, NotExecuted | Unknown):
            return read
        line = None if isinstance(read, Rejected) else read
    status = charge.get("status")
    seen = ChargeAtStripe(
        field(charge, "id", str),
        *_money(charge, "amount_captured"),
        clean(status) if isinstance(status, str) else "succeeded",
    )
    if not isinstance(line, Mapping):
        return seen
    settled = clean(field(line, "currency", str)).upper()
    return seen._replace(
        settled_amount=whole_from_stripe(settled, field(line, "amount", int)),
        settled_currency=settled,
    )


def _money(resource: Resource, taken: str) -> tuple[int, str]:
    """Return the amount that was taken, or, before that, the whole amount, as the ledger counts,
    and the currency."""
    amount = resource.get(taken)
    if not isinstance(amount, int) or isinstance(amount, bool) or amount <= 0:
        amount = field(resource, "amount", int)
    currency = clean(field(resource, "currency", str)).upper()
    return whole_from_stripe(currency, amount), currency
