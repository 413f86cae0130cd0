"""Objects as Stripe's events carry them, and their rows in the inbox."""

from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView


def a_refund(
    name: str, amount: int, status: str = "succeeded", charge: str = "ch_1", **members: object
) -> Json:
    return {
        "id": name,
        "object": "refund",
        "amount": amount,
        "charge": charge,
        "currency": "eur",
        "metadata": {},
        "payment_intent": "pi_1",
        "reason": None,
        "status": status,
        "transfer_reversal": None,
        **members,
    }


def a_dispute(
    name: str,
    amount: int,
    status: str = "needs_response",
    charge: str = "ch_1",
    moved: int = 0,
    **members: object,
) -> Json:
    """Return a dispute. `moved`: the amount that has left the platform's balance for it and has not
    come back."""
    transactions = [
        {
            "id": "txn_5",
            "object": "balance_transaction",
            "amount": -amount,
            "currency": "eur",
            "type": "adjustment",
        }
    ]
    back = {
        "id": "txn_6",
        "object": "balance_transaction",
        "amount": amount - moved,
        "currency": "eur",
        "type": "adjustment",
    }
    return {
        "id": name,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [*transactions, *([back] if moved < amount else [])],
        "charge": charge,
        "currency": "eur",
        "metadata": {},
        "payment_intent": "pi_1",
        "reason": "fraudulent",
        "status": status,
        **members,
    }


async def inbox_row(view: LedgerView, event_id: str, *statuses: str) -> Json:
    """Wait until the event has one of these statuses; return its row."""

    async def there() -> list[Json]:
        rows = await view.select("select * from webhook_inbox where event_id = %s", event_id)
        return [row for row in rows if row["status"] in statuses]

    (row,) = await view.until(there, f"{event_id} is {' or '.join(statuses)}")
    return row
