"""Stripe's list of transfers, page by page: each page complete, or a failure."""

from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from application.gateways import Page
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
    (one,), more, _, _ = await gateway.page(SINCE, UNTIL, None)
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
    assert await gateway.page(SINCE, UNTIL, "tr_9", "acct_1") == Page([], False, [])
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
        page(transfer("tr_2"), more=None),
    ],
)
async def test_unreadable_page_is_a_failure(
    stripe: FaultServer, gateway: StripeGateway, shown: dict[str, object]
) -> None:
    stripe.answers(200, shown)
    with pytest.raises(LookUpFailed):
        await gateway.page(SINCE, UNTIL, "tr_9", "acct_1")


ODD_REVERSAL = page({"id": "trr_1", "object": "transfer_reversal", "transfer": "tr_3"})


@pytest.mark.parametrize(
    "odd",
    [
        {"destination": None},
        {"created": None},
        {"created": 10**30},
        {"amount": "many"},
        {"metadata": 7, "currency": None},
        {"reversals": ODD_REVERSAL},
        {"object": "surprise"},
    ],
    ids=str,
)
async def test_odd_transfer_of_others_does_not_spoil_the_page(
    stripe: FaultServer, gateway: StripeGateway, odd: dict[str, object]
) -> None:
    stripe.answers(200, page(transfer("tr_1"), transfer("tr_odd", **odd), more=True))
    found = await gateway.page(SINCE, UNTIL, None)
    assert [one.transfer.stripe_transfer_id for one in found.listed] == ["tr_1"]
    assert [one.stripe_transfer_id for one in found.unreadable] == ["tr_odd"]
    assert found.last == "tr_odd", "the next page begins after it"


async def test_look_up_by_our_id_passes_over_odd_transfers_of_others(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, page(transfer("tr_odd", destination=None)))
    assert await gateway.find_by_our_id("ours", "acct_1", SINCE) == []
    stripe.answers(200, page(transfer("tr_odd", destination=None)))
    assert await gateway.find_similar("acct_1", "EUR", 4_711, SINCE) == []


async def test_look_up_fails_for_an_unreadable_transfer_of_ours(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    """It could be the payment, so nothing may be concluded."""
    stripe.answers(200, page(transfer("tr_1", metadata={"transfer_id": "ours"}, amount=None)))
    with pytest.raises(LookUpFailed, match="amount"):
        await gateway.find_by_our_id("ours", "acct_1", SINCE)
