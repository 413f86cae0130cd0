"""The outcome of every answer from Stripe or from a proxy before it, through the real SDK over real
HTTP."""

import asyncio
from collections.abc import Callable
from typing import cast

import aiohttp
import pytest
import stripe as sdk

from domain.provider_call.outcome import Hindrance, NotExecuted, Rejected, ReversalOutcome, Unknown
from domain.provider_call.request_body import TransferBody
from infrastructure.redaction import LONGEST_MESSAGE
from infrastructure.stripe.gateway import StripeGateway
from infrastructure.stripe.outcomes import outcome_of
from infrastructure.stripe.transport import LARGEST_ANSWER
from tests.support.fault_server import FaultServer
from tests.support.json_types import Json

INVALID = "invalid_request_error"
STORED = {"Stripe-Should-Retry": "false"}
REPLAYED = {"Idempotent-Replayed": "true"}
IN_USE = (
    "There is currently another in-progress request using this Idempotent Key (that probably "
    "means you submitted twice, "
    "and the other request is still going through): k. Please try again later."
)
OTHER_PARAMETERS = (
    "Keys for idempotent requests can only be used with the same parameters they were first used "
    "with. Try using a key "
    "other than 'k' if you meant to execute a different request."
)


def error(
    message: str, code: str | None = None, param: str | None = None, type_: str = INVALID
) -> dict[str, str]:
    fields = {
        "type": type_,
        "message": message,
        "code": code,
        "param": param,
        "doc_url": "https://example.invalid",
    }
    return {name: value for name, value in fields.items() if value is not None}


REFUSALS = {
    "destination unknown": (
        400,
        error("No such destination: 'acct_x'", "resource_missing", "destination"),
    ),
    "no capability": (400, error("needs capabilities", "insufficient_capabilities_for_transfer")),
    "platform balance too low": (
        400,
        error("You have insufficient available funds", "balance_insufficient"),
    ),
    "currency of the source differs": (400, error("must be the same", None, "source_transaction")),
    "amount too small": (
        400,
        error("greater than or equal to 1", "parameter_invalid_integer", "amount"),
    ),
    "parameter missing": (
        400,
        error("Missing required param: destination.", "parameter_missing", "destination"),
    ),
    "transfer unknown": (404, error("No such transfer: 'tr_x'", "resource_missing", "id")),
    "already reversed": (400, error("The transfer tr_x is already fully reversed.")),
    "above the rest": (
        400,
        error("Transfer reversal amount ($6.00) is greater than unreversed", None, "amount"),
    ),
    "seller balance too low": (
        400,
        error("The recipient does not have sufficient funds", "balance_insufficient"),
    ),
    "card error": (402, error("Your card was declined.", "card_declined", type_="card_error")),
    "code nobody knows": (400, error("Something new", "invented_tomorrow")),
}


@pytest.mark.parametrize("operation", ["create", "reverse"])
@pytest.mark.parametrize(("status", "fields"), REFUSALS.values(), ids=REFUSALS)
async def test_parsed_refusal_is_definite(
    stripe: FaultServer, gateway: StripeGateway, operation: str, status: int, fields: Json
) -> None:
    stripe.refuses(status, fields, STORED)
    assert await call(gateway, operation) == Rejected(
        status,
        fields.get("code"),
        fields["message"],
        stored=True,
        param=fields.get("param"),
        request_id="req_1",
        says_reversed="already fully reversed" in fields["message"],
        says_no_funds="funds" in fields["message"],
    )
    assert len(stripe.requests) == 1


@pytest.mark.parametrize(
    ("headers", "stored"),
    [({}, False), (STORED, True), (REPLAYED, True), ({"Stripe-Should-Retry": "true"}, False)],
    ids=["validation", "executed", "replayed", "should retry"],
)
async def test_refusal_is_stored_only_if_stripe_says_so(
    stripe: FaultServer, gateway: StripeGateway, headers: dict[str, str], stored: bool
) -> None:
    stripe.refuses(400, error("No", "balance_insufficient"), headers)
    outcome = await call(gateway)
    assert isinstance(outcome, Rejected)
    assert outcome.stored is stored


LIMITER = {"Stripe-Rate-Limited-Reason": "endpoint-rate"}
HINDRANCES = {
    "limiter": (
        429,
        error("Request rate limit exceeded.", "rate_limit"),
        LIMITER,
        Hindrance.RATE_LIMITED,
    ),
    "limiter without code": (429, error("Slow down"), LIMITER, Hindrance.RATE_LIMITED),
    "code without limiter": (429, error("Slow down", "rate_limit"), {}, Hindrance.RATE_LIMITED),
    "limit of older versions": (400, error("Slow down", "rate_limit"), {}, Hindrance.RATE_LIMITED),
    "lock": (
        429,
        error("Busy", "lock_timeout"),
        {"Stripe-Should-Retry": "true"},
        Hindrance.LOCK_TIMEOUT,
    ),
    "key in use": (409, error(IN_USE, "idempotency_key_in_use"), {}, Hindrance.KEY_IN_USE),
    "key in use, other type": (
        409,
        error(IN_USE, "idempotency_key_in_use", type_="idempotency_error"),
        {},
        Hindrance.KEY_IN_USE,
    ),
    "key in use, other status": (
        400,
        error(IN_USE, "idempotency_key_in_use"),
        {},
        Hindrance.KEY_IN_USE,
    ),
    "wrong key": (401, error("Invalid API Key provided"), {}, Hindrance.UNAUTHORIZED),
    "revoked": (403, error("Application access may have been revoked."), {}, Hindrance.FORBIDDEN),
}


@pytest.mark.parametrize(
    ("status", "fields", "headers", "why"), HINDRANCES.values(), ids=HINDRANCES
)
async def test_call_not_begun_is_not_executed(
    stripe: FaultServer,
    gateway: StripeGateway,
    status: int,
    fields: Json,
    headers: dict[str, str],
    why: Hindrance,
) -> None:
    stripe.refuses(status, fields, headers)
    assert await call(gateway) == NotExecuted(why, fields["message"], "req_1")
    assert len(stripe.requests) == 1


WHOLE = {
    "id": "tr_1",
    "object": "transfer",
    "amount": 2000,
    "currency": "usd",
    "destination": "acct_1",
}
PAGE = "<html><body>502 Bad Gateway</body></html>"
UNKNOWNS: dict[str, tuple[Callable[[FaultServer], None], str, int | None]] = {
    "500": (lambda s: s.refuses(500, error("Oops", type_="api_error"), STORED), "http_500", 500),
    "503": (lambda s: s.refuses(503, error("Oops", type_="api_error")), "http_503", 503),
    "502 HTML": (lambda s: s.answers(502, PAGE), "http_502", 502),
    "504 empty": (lambda s: s.answers(504, ""), "http_504", 504),
    "500 JSON without error": (lambda s: s.answers(500, {"message": "no"}), "http_500", 500),
    "400 HTML": (lambda s: s.answers(400, PAGE), "http_400", 400),
    "400 JSON without error": (lambda s: s.answers(400, {"detail": "no"}), "http_400", 400),
    "400 of something else": (
        lambda s: s.answers(400, {"error": {"code": 7, "message": "no"}}),
        "http_400",
        400,
    ),
    "400 OAuth": (lambda s: s.answers(400, {"error": "invalid_request"}), "http_400", 400),
    "404 of a proxy": (lambda s: s.answers(404, "not found"), "http_404", 404),
    "401 of a proxy": (lambda s: s.answers(401, PAGE), "http_401", 401),
    "403 of a proxy": (lambda s: s.answers(403, PAGE), "http_403", 403),
    "429 of a proxy": (lambda s: s.answers(429, PAGE), "http_429", 429),
    "409 for another reason": (lambda s: s.refuses(409, error("Conflict")), "http_409", 409),
    "other 4xx": (lambda s: s.refuses(422, error("Odd")), "http_422", 422),
    "redirect": (lambda s: s.answers(307, "", {"Location": "/elsewhere"}), "http_307", 307),
    "other parameters": (
        lambda s: s.refuses(400, error(OTHER_PARAMETERS, type_="idempotency_error")),
        "idempotency_error",
        400,
    ),
    "200 half JSON": (lambda s: s.answers(200, '{"id": "tr_1", "amou'), "unreadable", 200),
    "200 HTML": (lambda s: s.answers(200, PAGE), "unreadable", 200),
    "200 empty": (lambda s: s.answers(200, ""), "unreadable", 200),
    "200 not UTF-8": (lambda s: s.answers(200, "\udcff\udcfe"), "unreadable", 200),
    "502 in another encoding": (lambda s: s.answers(502, "\udcfc"), "http_502", 502),
    "400 with a list of errors": (
        lambda s: s.answers(400, {"error": []}),
        "bug:AttributeError",
        None,
    ),  # the SDK's
    "200 a list": (lambda s: s.answers(200, []), "unreadable", 200),
    "200 null": (lambda s: s.answers(200, "null"), "unreadable", 200),
    "body cut short": (lambda s: s.cuts_the_body_short(WHOLE), "unreadable", None),
    "bad gzip": (
        lambda s: s.answers(200, "no gzip", {"Content-Encoding": "gzip"}),
        "unreadable",
        None,
    ),
    "not HTTP": (
        lambda s: s.sends(b"SSH-2.0-OpenSSH_9.7\r\n\r\n", then_close=True),
        "unreadable",
        None,
    ),
    "closed": (lambda s: s.closes(), "connection", None),
    "head cut short": (
        lambda s: s.sends(b"HTTP/1.1 200 OK\r\nContent-", then_close=True),
        "connection",
        None,
    ),
    "reset": (lambda s: s.resets(), "connection", None),
}


@pytest.mark.parametrize("operation", ["create", "reverse"])
@pytest.mark.parametrize(("prepare", "why", "status"), UNKNOWNS.values(), ids=UNKNOWNS)
async def test_other_answer_is_unknown_and_sent_once(
    stripe: FaultServer,
    gateway: StripeGateway,
    operation: str,
    prepare: Callable[[FaultServer], None],
    why: str,
    status: int | None,
) -> None:
    prepare(stripe)
    outcome = await call(gateway, operation)
    assert isinstance(outcome, Unknown), outcome
    assert (outcome.why, outcome.status) == (why, status)
    assert len(stripe.requests) == 1


async def test_absent_server_is_a_connection_fault(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    await stripe.stop()
    outcome = await call(gateway)
    assert isinstance(outcome, Unknown)
    assert outcome.why == "connection"


async def test_endless_answer_is_not_read_on(stripe: FaultServer, gateway: StripeGateway) -> None:
    stripe.sends(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(LARGEST_ANSWER + 1))
    outcome = await call(gateway)
    assert isinstance(outcome, Unknown)
    assert (outcome.why, "larger than" in outcome.message) == ("unreadable", True)
    await stripe.hung_up()


async def test_replayed_500_is_recognised(stripe: FaultServer, gateway: StripeGateway) -> None:
    stripe.refuses(500, error("Oops", type_="api_error"), STORED | REPLAYED)
    assert await call(gateway) == Unknown("http_500", "Oops", 500, "req_1", replayed=True)


async def test_unreadable_answer_keeps_its_request_id(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(502, PAGE)
    outcome = await call(gateway)
    assert isinstance(outcome, Unknown)
    assert outcome.request_id == "req_1"
    assert "502 Bad Gateway" in outcome.message


async def test_message_contains_no_secret(
    stripe: FaultServer, gateway: StripeGateway, api_key: str
) -> None:
    for status, body in (
        (401, {"error": error(f"Bad key {api_key}")}),
        (502, f"<pre>authorization: Bearer {api_key}"),
    ):
        stripe.answers(status, body)
        assert api_key not in repr(await call(gateway))
        assert api_key in stripe.requests[-1].headers["authorization"]


async def test_message_is_bounded_and_storable(stripe: FaultServer, gateway: StripeGateway) -> None:
    stripe.refuses(400, error("x" * LONGEST_MESSAGE))
    stripe.refuses(400, error("x" * (LONGEST_MESSAGE + 1)))
    stripe.refuses(400, error("a\x00b\ud800c", "\x00"))
    whole, cut, dirty = [
        outcome for _ in range(3) if isinstance(outcome := await call(gateway), Rejected)
    ]
    assert whole.message == "x" * LONGEST_MESSAGE
    assert len(cut.message) == LONGEST_MESSAGE
    assert (dirty.message, dirty.code) == ("a\ufffdb\ufffdc", "\ufffd")


async def test_programming_error_is_unknown_under_its_name(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    outcome = await gateway.create(cast(TransferBody, {"amount": 1}), "k")
    assert isinstance(outcome, Unknown)
    assert outcome.why == "bug:KeyError"
    assert stripe.requests == []


async def test_error_wrapped_as_network_fault_is_unwrapped(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    await gateway.aclose()
    outcome = await call(gateway)
    assert isinstance(outcome, Unknown)
    assert outcome.why == "bug:RuntimeError"


def _lost() -> sdk.APIConnectionError:
    return cast(Callable[[str], sdk.APIConnectionError], sdk.APIConnectionError)(
        "lost"
    )  # the SDK leaves it untyped


RAW = {
    "cancelled": (asyncio.CancelledError(), "cancelled"),
    "time limit of the caller": (TimeoutError(), "timeout"),
    "payload": (aiohttp.ClientPayloadError("cut"), "unreadable"),
    "disconnected": (aiohttp.ServerDisconnectedError(), "connection"),
    "slow socket": (aiohttp.SocketTimeoutError(), "timeout"),
    "broken pipe": (BrokenPipeError(), "connection"),
    "without a cause": (_lost(), "connection"),
    "without a status": (sdk.APIError("odd"), "unreadable"),
    "warning as error": (DeprecationWarning("old"), "bug:DeprecationWarning"),
}


@pytest.mark.parametrize(("raised", "why"), RAW.values(), ids=RAW)
def test_error_escaping_the_sdk_is_unknown(raised: BaseException, why: str) -> None:
    outcome = outcome_of(raised)
    assert isinstance(outcome, Unknown)
    assert outcome.why == why
    assert outcome.message


async def call(gateway: StripeGateway, operation: str = "create") -> ReversalOutcome:
    if operation == "reverse":
        return await gateway.reverse("tr_x", 400, "refund", "k", {"reversal_id": "r1"})
    body: TransferBody = {
        "amount": 2000,
        "currency": "usd",
        "destination": "acct_1",
        "transfer_group": "o1",
        "metadata": {},
    }
    return await gateway.create(body, "k")
