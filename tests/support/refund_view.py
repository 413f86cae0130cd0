"""Refunds as the simulated payment provider and the ledger's database show them."""

import json

from domain.identity import refund_stream
from infrastructure.simulators.hyperswitch import HyperswitchControl
from tests.support.json_types import Json
from tests.support.ledger_view import F, LedgerView

CREATE_REFUND, ASK, CREATE_PAYMENT = "refunds.create", "refunds.retrieve", "payments.create"
CURRENCY = "EUR"


class RefundView:
    """Payments and refunds at the payment provider, and the rows of refunds in the ledger."""

    def __init__(self, psp: HyperswitchControl, view: LedgerView) -> None:
        self.psp, self.view = psp, view

    async def paid(self, order_id: str = "o1", amount: int = 1_000) -> None:
        """Make the order's payment at the payment provider, without a webhook."""
        await self.psp.take_payment(
            f"pay_{order_id}", amount, CURRENCY, metadata={"order_id": order_id}
        )

    async def row(self, refund_id: str = "r1") -> Json:
        (row,) = await self.view.select("select * from refunds where refund_id = %s", refund_id)
        return row

    async def reached(self, status: str, refund_id: str = "r1") -> Json:
        """Wait until the ledger's refund has this status."""

        async def there() -> bool:
            return bool((await self.row(refund_id))["status"] == status)

        await self.view.until(there, f"refund {refund_id} is {status}")
        return await self.row(refund_id)

    async def story(self, refund_id: str = "r1") -> list[str]:
        return await self.view.story(refund_stream(refund_id))

    async def happened(self, kind: type[F], refund_id: str = "r1", times: int = 1) -> F:
        return await self.view.happened(refund_stream(refund_id), kind, times)

    async def calls(self, operation: str = CREATE_REFUND) -> list[Json]:
        """Return the payment provider's log of calls, oldest first, with the parsed body as
        `sent`."""
        return [
            {**call, "sent": json.loads(call["body"] or "null")}
            for call in await self.psp.requests(operation)
        ]

    async def made(self) -> list[Json]:
        """Return the refunds in the payment provider's own books."""
        found: list[Json] = (await self.psp.ledger())["refunds"]
        return found

    async def amounts(self) -> list[tuple[str, int, str]]:
        return sorted(
            (refund["refund_id"], refund["amount"], refund["status"])
            for refund in await self.made()
        )
