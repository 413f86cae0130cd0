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
Get = Callable[[str, str | None], Awaitable[Resource | Failure]]
"""Reads the object at a path of Stripe's API, with a linked object expanded, or none."""


async def charge_of(payment: str, get: Get) -> ChargeAtStripe | Failure | None:
    """Read the charge of a PaymentIntent, or a charge; None if the PaymentIntent has none yet."""
    try:
        return await _charge_of(payment, get)
    except LookUpFailed as unread:
        return Unknown("unreadable", str(unread), 200)


async def _charge_of(payment: str, get: Get) -> ChargeAtStripe | Failure | None:
    if not payment.startswith(PAYMENT_INTENT):
        return await _with_line(await get(f"/v1/charges/{payment}", LINE), {}, get)
    intent = await get(f"/v1/payment_intents/{payment}", f"latest_charge.{LINE}")
    if isinstance(intent, Rejected | NotExecuted | Unknown):
        return intent
    latest = intent.get("latest_charge")
    if isinstance(latest, Mapping):
        return await _with_line(latest, intent, get)
    if not isinstance(latest, str) or not latest:
        return None
    charge = await get(f"/v1/charges/{latest}", LINE)
    return await _with_line({"id": latest} if isinstance(charge, Rejected) else charge, intent, get)


async def _with_line(
    charge: Resource | Failure, intent: Resource, get: Get
) -> ChargeAtStripe | Failure:
    """Return the charge with the amount and currency of its balance transaction, as far as Stripe
    shows them. Its own amount and currency may only be those of its PaymentIntent."""
    if isinstance(charge, Rejected | NotExecuted | Unknown):
        return charge
    line = charge.get(LINE)
    if isinstance(line, str) and line:
        read = await get(f"/v1/balance_transactions/{line}", None)
        if isinstance(read, NotExecuted | Unknown):
            return read
        line = None if isinstance(read, Rejected) else read
    money = _money(charge) or _money(intent)
    if money is None:
        raise LookUpFailed("Stripe shows a charge without amount or currency.")
    status, settled = charge.get("status"), _money(line)
    seen = ChargeAtStripe(
        clean(field(charge, "id", str)),
        *money,
        clean(status) if isinstance(status, str) else "succeeded",
    )
    if settled is None:
        return seen
    return seen._replace(settled_amount=settled[0], settled_currency=settled[1])


def _money(resource: object) -> tuple[int, str] | None:
    """Return the amount that was taken, or, before that, the whole amount, as the ledger counts it,
    and the currency; None if Stripe does not show them."""
    if not isinstance(resource, Mapping) or not isinstance(resource.get("currency"), str):
        return None
    shown = (resource.get(name) for name in ("amount_captured", "amount_received", "amount"))
    amounts = [amount for amount in shown if type(amount) is int and amount > 0]
    if not amounts:
        return None
    currency = clean(str(resource["currency"])).upper()
    return whole_from_stripe(currency, amounts[0]), currency
