"""What a seller has received and given back."""

from infrastructure.web.calls import Call, Reply
from infrastructure.web.models import Parameters
from infrastructure.web.views import Balance, CurrencyBalance


async def show_balance(call: Call[None, Parameters]) -> Reply:
    """A seller is known by nothing but transfers: one without any has no balances, which is no error."""
    seller_id = call.id("seller_id")
    return Reply(200, Balance(seller_id, [CurrencyBalance(*row) for row in await call.reads.balances(seller_id)]))
