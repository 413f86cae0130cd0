"""Stripe's list of transfers, page by page: each page complete, or a failure."""

from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from domain.provider_call.outcome import LookUpFailed
from domain.provider_call.stripe_objects import ReversalAtStripe
from infrastructure.stripe.gateway import StripeGateway
from tests.support.fault_server import FaultServer

SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)


def transfer(id_: str = "tr_1", **changes: object) -> dict[str, object]:
    usual = {
        "id": id_,
        "object": "transfer",
        "amount": 1_000,
        "amount_reversed": 0,
        "currency": "usd",
        "destination": "acct_1",
    }
    return {**usual, "metadata": {}, "created": 1_793_534_400, "transfer_group": None, **changes}


def page(*items: object, more: object = False) -> dict[str, object]:
    return {"object": "list", "data": list(items), "has_more": more, "url": "/v1/transfers"}


async def test_transfer_page_shows_identifying_fields(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    made = {
        "id": "trr_1",
        "object": "transfer_reversal",
        "amount": 5,
        "transfer": "tr_1",
        "metadata": {"reversal_id": "r"},
    }
    marks = {"transfer_id": "t", "order_id": "o"}
    stripe.answers(
        200,
        page(
            transfer(metadata=marks, transfer_group="g", amount_reversed=5, reversals=page(made)),
            more=True,
        ),
    )
    (one,), more = await gateway.page(SINCE, UNTIL, None)
    assert (more, one.order_id, one.transfer_group, one.transfer.transfer_id) == (
        True,
        "o",
        "g",
        "t",
    )
    assert one.transfer.reversals == (ReversalAtStripe("trr_1", 5, "r"),)
    assert one.created_at == datetime(2026, 11, 1, 12, tzinfo=UTC)


async def test_next_page_keeps_cursor_and_destination(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, page())
    assert await gateway.page(SINCE, UNTIL, "tr_9", "acct_1") == ([], False)
    path = unquote(stripe.requests[0].path)
    for part in (
        "starting_after=tr_9",
        "destination=acct_1",
        "limit=100",
        f"created[lt]={int(UNTIL.timestamp())}",
    ):
        assert part in path


@pytest.mark.parametrize(
    "shown",
    [
        page(more=True),
        page(transfer("tr_9"), more=True),
        page(transfer("tr_2", destination="acct_other")),
        page(transfer("tr_2", created=None)),
        page(transfer("tr_2"), more=None),
        page(
            transfer(
                "tr_2",
                reversals=page({"id": "trr_1", "object": "transfer_reversal", "transfer": "tr_3"}),
            )
        ),
    ],
)
async def test_unreadable_page_is_a_failure(
    stripe: FaultServer, gateway: StripeGateway, shown: dict[str, object]
) -> None:
    stripe.answers(200, shown)
    with pytest.raises(LookUpFailed):
        await gateway.page(SINCE, UNTIL, "tr_9", "acct_1")
