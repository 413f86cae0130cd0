"""What a seller has received and given back, now or then."""

from infrastructure.web.calls import Call, Reply
from infrastructure.web.models import PastQuery
from infrastructure.web.moments import asks_for_the_past, moment_of
from infrastructure.web.views import Balance, CurrencyBalance


async def show_balance(call: Call[None, PastQuery]) -> Reply:
    """A seller is known by nothing but transfers: one without any has no balances, which is no error."""
    seller_id = call.id("seller_id")
    if asks_for_the_past(call.query):
        balances = await call.past.balances(seller_id, await moment_of(call))
    else:
        balances = await call.reads.balances(seller_id)
    return Reply(200, Balance(seller_id, [CurrencyBalance(*row) for row in balances]))
