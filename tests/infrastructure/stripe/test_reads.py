"""Reads of Stripe's books: complete, or a failure."""

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest

from domain.provider_call.outcome import LookUpFailed, NotAtStripe, Rejected, Succeeded, Unknown
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from infrastructure.stripe.gateway import StripeGateway
from tests.infrastructure.stripe.conftest import OpenGateway
from tests.support.fault_server import FaultServer
from tests.support.json_types import Json

SINCE = datetime(2026, 11, 20, 12, 0, 0, 900_000, tzinfo=UTC)
GONE = {
    "type": "invalid_request_error",
    "code": "resource_missing",
    "param": "id",
    "message": "No such transfer: 'tr_1'",
}


def transfer(
    id_: str = "tr_1", *, reversed_: int = 0, ours: str | None = "t1", **changes: object
) -> Json:
    metadata = {"transfer_id": ours} if ours else {}
    return {
        "id": id_,
        "object": "transfer",
        "amount": 1000,
        "amount_reversed": reversed_,
        "currency": "usd",
        "destination": "acct_1",
        "metadata": metadata,
        **changes,
    }


def reversal(
    number: int,
    amount: int | None,
    ours: str | None = None,
    source_refund: str | None = None,
    **changes: object,
) -> Json:
    return {
        "id": f"trr_{number}",
        "object": "transfer_reversal",
        "amount": amount,
        "transfer": "tr_1",
        "metadata": {"reversal_id": ours} if ours else {},
        "source_refund": source_refund,
        **changes,
    }


def page(*items: object, more: object = False) -> Json:
    return {"object": "list", "data": list(items), "has_more": more, "url": "/v1/whatever"}


def queries(stripe: FaultServer) -> list[dict[str, str]]:
    return [dict(parse_qsl(urlsplit(request.path).query)) for request in stripe.requests]


async def test_look_up_reads_reversals_of_every_page(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, transfer(reversed_=600))
    stripe.answers(200, page(reversal(3, 100, "r3"), reversal(2, 200), more=True))
    stripe.answers(200, page(reversal(1, 300, source_refund="re_1")))
    shown = await gateway.get_transfer("tr_1")
    assert shown == TransferAtStripe(
        "tr_1",
        1000,
        600,
        "USD",
        "acct_1",
        "t1",
        (
            ReversalAtStripe("trr_3", 100, "r3"),
            ReversalAtStripe("trr_2", 200, None),
            ReversalAtStripe("trr_1", 300, None, "re_1"),
        ),
    )
    assert shown.reversible == 400
    assert queries(stripe) == [{}, {"limit": "100"}, {"limit": "100", "starting_after": "trr_2"}]


async def test_unknown_transfer_is_absent(stripe: FaultServer, gateway: StripeGateway) -> None:
    stripe.refuses(404, GONE)
    with pytest.raises(NotAtStripe, match="No such transfer"):
        await gateway.get_transfer("tr_1")


FAILURES = {
    "500": lambda s: s.refuses(500, {"type": "api_error", "message": "Oops"}),
    "HTML": lambda s: s.answers(502, "<html>"),
    "wrong key": lambda s: s.refuses(
        401, {"type": "invalid_request_error", "message": "Invalid API Key"}
    ),
    "revoked": lambda s: s.refuses(403, {"type": "invalid_request_error", "message": "revoked"}),
    "limiter": lambda s: s.refuses(
        429, {"type": "invalid_request_error", "code": "rate_limit", "message": "slow"}
    ),
    "refused": lambda s: s.refuses(400, {"type": "invalid_request_error", "message": "no"}),
    "404 without code": lambda s: s.refuses(
        404, {"type": "invalid_request_error", "message": "Unrecognized URL"}
    ),
    "404 of a proxy": lambda s: s.answers(404, "<html>"),
    "cut short": lambda s: s.cuts_the_body_short({"object": "list", "data": [], "has_more": False}),
    "closed": lambda s: s.closes(),
    "null": lambda s: s.answers(200, "null"),
    "no list": lambda s: s.answers(200, {"object": "transfer_reversal"}),
    "another list": lambda s: s.answers(200, {**page(), "object": "search_result"}),
    "no has_more": lambda s: s.answers(200, {"object": "list", "data": []}),
    "has_more as text": lambda s: s.answers(200, page(more="false")),
    "no data": lambda s: s.answers(200, {"object": "list", "has_more": False}),
    "not objects": lambda s: s.answers(200, page("trr_1")),
    "more of nothing": lambda s: s.answers(200, page(more=True)),
}


@pytest.mark.parametrize("prepare", FAILURES.values(), ids=FAILURES)
async def test_look_up_without_all_reversals_fails(
    stripe: FaultServer, gateway: StripeGateway, prepare: Callable[[FaultServer], None]
) -> None:
    stripe.answers(200, transfer(reversed_=100))
    stripe.answers(200, page(reversal(1, 100), more=True))
    prepare(stripe)
    with pytest.raises(LookUpFailed):
        await gateway.get_transfer("tr_1")


@pytest.mark.parametrize("prepare", FAILURES.values(), ids=FAILURES)
async def test_search_without_all_pages_fails(
    stripe: FaultServer, gateway: StripeGateway, prepare: Callable[[FaultServer], None]
) -> None:
    stripe.answers(200, page(transfer("tr_2"), more=True))
    prepare(stripe)
    with pytest.raises(LookUpFailed):
        await gateway.find_by_our_id("t1", "acct_1", SINCE)


@pytest.mark.parametrize(
    "shown",
    [
        transfer("tr_2"),
        transfer("trr_1"),
        transfer(object="payout"),
        transfer(amount=None),
        transfer(amount=True),
        transfer(amount_reversed="0"),
        transfer(currency=None),
        transfer(destination={"id": "acct_1"}),
        [],
    ],
    ids=[
        "other id",
        "prefix",
        "object",
        "no amount",
        "bool",
        "text",
        "no currency",
        "expanded",
        "no object",
    ],
)
async def test_look_up_of_other_object_fails(
    stripe: FaultServer, gateway: StripeGateway, shown: object
) -> None:
    stripe.answers(200, shown)
    stripe.answers(200, page())
    with pytest.raises(LookUpFailed):
        await gateway.get_transfer("tr_1")


@pytest.mark.parametrize(
    "item",
    [reversal(1, 100, transfer="tr_2"), reversal(1, 100, id="tr_1"), reversal(1, None)],
    ids=["other transfer", "other id", "no amount"],
)
async def test_list_with_other_object_fails(
    stripe: FaultServer, gateway: StripeGateway, item: Json
) -> None:
    stripe.answers(200, transfer(reversed_=100))
    stripe.answers(200, page(item))
    with pytest.raises(LookUpFailed):
        await gateway.get_transfer("tr_1")


async def test_circular_list_fails(stripe: FaultServer, gateway: StripeGateway) -> None:
    stripe.answers(200, transfer(reversed_=100))
    stripe.answers(200, page(reversal(1, 100), more=True))
    with pytest.raises(LookUpFailed, match="would repeat"):
        await gateway.get_transfer("tr_1")


async def test_reversal_during_look_up_repeats_it(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, transfer(reversed_=0))
    stripe.answers(200, page(reversal(1, 100)))
    stripe.answers(200, transfer(reversed_=100))
    stripe.answers(200, page(reversal(1, 100)))
    assert (await gateway.get_transfer("tr_1")).reversible == 900


async def test_inconsistent_books_are_not_believed(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    for _ in range(3):
        stripe.answers(200, transfer(reversed_=500))
        stripe.answers(200, page(reversal(1, 100)))
    with pytest.raises(LookUpFailed, match="do not add up"):
        await gateway.get_transfer("tr_1")


async def test_search_reads_every_page_and_matches_our_id(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, page(transfer("tr_9", ours="t9"), transfer("tr_8", ours=None), more=True))
    stripe.answers(200, page(transfer("tr_1"), transfer("tr_0", metadata=None)))
    stripe.answers(200, transfer(reversed_=100))
    stripe.answers(200, page(reversal(1, 100)))
    [found] = await gateway.find_by_our_id("t1", "acct_1", SINCE)
    assert found.stripe_transfer_id == "tr_1"
    assert found.reversals == (ReversalAtStripe("trr_1", 100, None),)
    window = {"destination": "acct_1", "created[gte]": str(int(SINCE.timestamp())), "limit": "100"}
    assert queries(stripe)[:2] == [window, {**window, "starting_after": "tr_8"}]


async def test_search_without_match_reports_absence(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, page(transfer("tr_9", ours="t9")))
    assert await gateway.find_by_our_id("t1", "acct_1", SINCE) == []


async def test_transfer_vanishing_during_search_is_no_absence(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, page(transfer()))
    stripe.refuses(404, GONE)
    with pytest.raises(LookUpFailed):
        await gateway.find_by_our_id("t1", "acct_1", SINCE)


async def test_look_up_error_contains_no_secret(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.refuses(
        401,
        {
            "type": "invalid_request_error",
            "message": "Invalid API Key: sk_test_51SecretOfThisTestSuite",
        },
    )
    with pytest.raises(LookUpFailed) as failed:
        await gateway.get_transfer("tr_1")
    assert "SecretOfThisTestSuite" not in str(failed.value)


async def test_remaining_amount_is_resolved_before_sending(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, transfer(reversed_=100))
    stripe.answers(200, page(reversal(1, 100)))
    stripe.answers(200, reversal(2, 900))
    assert await gateway.reverse("tr_1", None, "refund", "k", {"reversal_id": "r2"}) == Succeeded(
        "trr_2", 900, "req_1"
    )
    assert dict(parse_qsl(stripe.requests[-1].body))["amount"] == "900"


async def test_remaining_amount_already_reversed_is_not_sent(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, transfer(reversed_=1000))
    stripe.answers(200, page(reversal(2, 900, "r2"), reversal(1, 100)))
    outcome = await gateway.reverse("tr_1", None, "refund", "k", {"reversal_id": "r2"})
    assert outcome == Succeeded("trr_2", 900, replayed=True)
    assert [request.method for request in stripe.requests] == ["GET", "GET"]


async def test_reversal_of_nothing_left_is_refused_locally(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, transfer(reversed_=1000))
    stripe.answers(200, page(reversal(1, 1000, "another")))
    outcome = await gateway.reverse("tr_1", None, "refund", "k", {"reversal_id": "r2"})
    assert isinstance(outcome, Rejected)
    assert (outcome.status, outcome.stored) == (400, False)
    assert [request.method for request in stripe.requests] == ["GET", "GET"]


async def test_reversal_with_unreadable_rest_is_not_sent(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(503, "")
    outcome = await gateway.reverse("tr_1", None, "refund", "k")
    assert isinstance(outcome, Unknown)
    assert outcome.why == "look_up_failed"
    assert len(stripe.requests) == 1


async def test_reversal_of_unknown_transfer_is_404(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.refuses(404, GONE)
    assert await gateway.reverse("tr_1", None, "refund", "k") == Rejected(
        404, "resource_missing", GONE["message"], stored=False, param="id"
    )


async def test_account_of_the_key_is_returned(stripe: FaultServer, gateway: StripeGateway) -> None:
    stripe.answers(200, {"id": "acct_platform", "object": "account"})
    assert await gateway.account() == "acct_platform"
    assert stripe.requests[0].path == "/v1/account"


@pytest.mark.parametrize("status", [403, 404])
async def test_account_hidden_by_stripe_is_none(
    stripe: FaultServer, gateway: StripeGateway, status: int
) -> None:
    stripe.refuses(status, {"type": "invalid_request_error", "message": "not for this key"})
    assert await gateway.account() is None


@pytest.mark.parametrize(
    "prepare",
    [
        lambda s: s.refuses(401, {"type": "invalid_request_error", "message": "Invalid API Key"}),
        lambda s: s.refuses(500, {"type": "api_error", "message": "Oops"}),
        lambda s: s.answers(200, {"id": "tr_1", "object": "transfer"}),
    ],
    ids=["wrong key", "500", "something else"],
)
async def test_unreadable_account_is_a_failure(
    stripe: FaultServer, gateway: StripeGateway, prepare: Callable[[FaultServer], None]
) -> None:
    prepare(stripe)
    with pytest.raises(LookUpFailed):
        await gateway.account()


ANSWERS = {
    "an object": lambda s: s.answers(200, {"id": "acct_platform", "object": "account"}),
    "wrong key": lambda s: s.refuses(
        401, {"type": "invalid_request_error", "message": "Invalid API Key"}
    ),
    "not for this key": lambda s: s.refuses(
        403, {"type": "invalid_request_error", "message": "not for this key"}
    ),
    "no such thing": lambda s: s.refuses(
        404, {"type": "invalid_request_error", "message": "Unrecognized request URL"}
    ),
    "too fast": lambda s: s.refuses(
        429, {"type": "invalid_request_error", "code": "rate_limit", "message": "Slow down"}
    ),
    "unreadable 404": lambda s: s.answers(404, "<html>"),
    "unreadable 200": lambda s: s.answers(200, "<html>"),
}
SILENCES = {
    "500": lambda s: s.refuses(500, {"type": "api_error", "message": "Oops"}),
    "503 of a proxy": lambda s: s.answers(503, "<html>"),
    "closed": lambda s: s.closes(),
    "reset": lambda s: s.resets(),
}


@pytest.mark.parametrize("prepare", ANSWERS.values(), ids=ANSWERS)
async def test_status_below_500_proves_stripe_answers(
    stripe: FaultServer, gateway: StripeGateway, prepare: Callable[[FaultServer], None]
) -> None:
    prepare(stripe)
    assert await gateway.answers() is True
    assert [(request.method, request.path) for request in stripe.requests] == [
        ("GET", "/v1/account")
    ]


@pytest.mark.parametrize("prepare", SILENCES.values(), ids=SILENCES)
async def test_server_error_or_silence_is_no_answer(
    stripe: FaultServer, gateway: StripeGateway, prepare: Callable[[FaultServer], None]
) -> None:
    prepare(stripe)
    assert await gateway.answers() is False
    assert {request.method for request in stripe.requests} == {
        "GET"
    }  # aiohttp repeats a read whose connection broke


async def test_hanging_or_absent_stripe_does_not_answer(
    stripe: FaultServer, gateway_at: OpenGateway
) -> None:
    stripe.hangs()
    gateway = await gateway_at(stripe.url, timeout=0.2)
    assert await gateway.answers() is False
    await stripe.stop()
    assert await gateway.answers() is False
