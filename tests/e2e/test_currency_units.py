"""A sale in a currency that Stripe counts in other units, from the payment to Stripe's books and
webhooks."""

import pytest

from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_process import payment, refund
from tests.support.ledger_view import LedgerView
from tests.support.service import account

SECRET = "whsec_of_this_test"


@pytest.mark.parametrize(("currency", "factor"), [("UGX", 100), ("ISK", 100), ("JPY", 1)])
async def test_sale_and_refund_move_the_same_money_at_stripe(
    processes: Processes,
    stripe: SimulatorControl,
    view: LedgerView,
    currency: str,
    factor: int,
) -> None:
    served = await processes.start(STRIPE_WEBHOOK_SECRETS=SECRET)
    web = await processes.talk(served)
    await stripe.add_webhook_endpoint(f"{served.url}/webhooks/stripe", [SECRET])
    share = {"seller_id": "anna", "destination": account("anna"), "amount": 342_000}
    order = {"order_id": "o1", "currency": currency, "amount": 380_000, "payment_id": "pay_o1"}
    (await web.http.post("/v1/orders", json=order | {"shares": [share]})).raise_for_status()
    paid = payment("o1", 380_000) | {"currency": currency}
    await web.webhook("payment_succeeded", "payment_details", paid)
    (row,) = await view.reached("o1", "completed")
    (held,) = (await stripe.ledger())["transfers"]
    assert (row.amount, held["amount"]) == (342_000, 342_000 * factor)

    half = refund("r1", "o1", 190_000) | {"currency": currency}
    await web.webhook("refund_succeeded", "refund_details", half)
    (row,) = await view.reached("o1", "partially_reversed")
    (held,) = (await stripe.ledger())["transfers"]
    assert (row.amount_reversed, held["amount_reversed"]) == (171_000, 171_000 * factor)

    await stripe.external_reversal(held["id"], 1_000 * factor)

    async def recorded() -> bool:
        return (await view.transfer("o1")).amount_reversed == 172_000

    await view.until(recorded, "the reversal made by others is recorded")
    await stripe.flush_webhooks()
    await stripe.webhooks_quiet()
    open_ = await view.select("select from webhook_inbox where status in ('stored', 'dead')")
    assert open_ == []
