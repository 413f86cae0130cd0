"""The outcome of every answer: the gateway on a server that is not Hyperswitch."""

from collections.abc import Awaitable, Callable

import pytest

from domain.provider_call.outcome import Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import RefundAtPsp
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.hyperswitch.http_client import LARGEST_ANSWER
from infrastructure.redaction import LONGEST_MESSAGE
from tests.infrastructure.hyperswitch.conftest import OpenGateway
from tests.infrastructure.simulators.hyperswitch.conftest import MakeRefund
from tests.support.fault_server import FaultServer, response
from tests.support.json_types import Json

ABSENT = response(
    404, {"error": {"type": "object_not_found", "code": "HE_02", "message": "There is none"}}
)
GOOD = {
    "refund_id": "r1",
    "payment_id": "o1",
    "amount": 1000,
    "currency": "USD",
    "status": "pending",
}


RefundOutcome = RefundAtPsp | Rejected | NotExecuted | Unknown
PostRefund = Callable[..., Awaitable[RefundOutcome]]


@pytest.fixture
def refund(psp: FaultServer, gateway_at: OpenGateway, refund_body: MakeRefund) -> PostRefund:
    """POST the refund; every look-up afterwards finds nothing."""

    async def post(
        timeout: float = 20, api_key: str = "snd_SecretOfThisTestSuite"
    ) -> RefundOutcome:
        psp.sends(ABSENT)
        gateway = await gateway_at(psp.url, timeout, api_key)
        return await gateway.create_refund("r1", refund_body(), "USD")

    return post


def error(code: str | None, message: str = "So it is") -> Json:
    return {
        "error": {"type": "invalid_request", "message": message, **({"code": code} if code else {})}
    }


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_parsed_error_is_a_rejection(
    psp: FaultServer, refund: PostRefund, status: int
) -> None:
    psp.answers(status, error("IR_13"))
    assert await refund() == Rejected(status, "IR_13", "So it is", stored=False)
    assert [(request.method, request.path) for request in psp.requests] == [
        ("POST", "/refunds"),
        ("GET", "/refunds/r1?force_sync=true"),
    ]


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize(
    "body",
    ["<html>Bad gateway</html>", "", "[]", '{"error": "no"}', '{"error": {"message": "no code"}}'],
)
async def test_error_of_other_server_is_unknown(
    psp: FaultServer, refund: PostRefund, status: int, body: str
) -> None:
    psp.answers(status, body)
    answer = await refund()
    assert isinstance(answer, Unknown)
    assert (answer.why, answer.status) == (f"http_{status}", status)
    assert len(psp.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (401, "IR_01", Hindrance.UNAUTHORIZED),
        (403, "IR_22", Hindrance.FORBIDDEN),
        (429, None, Hindrance.RATE_LIMITED),
        (429, "HE_00", Hindrance.LOCK_TIMEOUT),
        (422, "HE_00", Hindrance.LOCK_TIMEOUT),
    ],
)
async def test_call_refused_before_execution_is_not_executed(
    psp: FaultServer, refund: PostRefund, status: int, code: str | None, why: Hindrance
) -> None:
    psp.answers(status, error(code))
    assert await refund() == NotExecuted(why, "So it is")


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_refusal_before_execution_needs_no_json(
    psp: FaultServer, refund: PostRefund, status: int
) -> None:
    psp.answers(status, "<html>Slow down</html>")
    answer = await refund()
    assert isinstance(answer, NotExecuted)
    assert "Slow down" in answer.message


@pytest.mark.parametrize(
    "status", [303, 302, 307, 402, 405, 409, 410, 413, 500, 501, 502, 503, 504, 529]
)
async def test_other_status_is_unknown(psp: FaultServer, refund: PostRefund, status: int) -> None:
    psp.answers(status, error("HE_00", "Something went wrong"), {"Location": "/elsewhere"})
    answer = await refund()
    assert isinstance(answer, Unknown)
    assert (answer.why, answer.status) == (f"http_{status}", status)
    assert len(psp.requests) == 1, "neither a retry nor a redirect"


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", "null", "1", '{"refund_id": "r1"', "{}", '{"refund_id": 1}']
)
async def test_success_without_refund_is_unknown(
    psp: FaultServer, refund: PostRefund, body: str
) -> None:
    psp.answers(200, body)
    answer = await refund()
    assert isinstance(answer, Unknown)
    assert answer.why == "unreadable"


@pytest.mark.parametrize(
    "wrong",
    [
        {"refund_id": "r2"},
        {"payment_id": "o2"},
        {"amount": 999},
        {"currency": "EUR"},
    ],
)
async def test_disagreeing_refund_is_unknown(
    psp: FaultServer, refund: PostRefund, wrong: Json
) -> None:
    psp.answers(200, {**GOOD, **wrong})
    answer = await refund()
    assert isinstance(answer, Unknown)
    assert answer.why == "disagrees"


@pytest.mark.parametrize(
    "wrong",
    [{"amount": True}, {"amount": 1000.0}, {"amount": "1000"}, {"status": None}, {"currency": 1}],
)
async def test_member_of_other_shape_is_unreadable(
    psp: FaultServer, refund: PostRefund, wrong: Json
) -> None:
    psp.answers(200, {**GOOD, **wrong})
    answer = await refund()
    assert isinstance(answer, Unknown)
    assert answer.why == "unreadable"


async def test_members_of_later_version_are_ignored(psp: FaultServer, refund: PostRefund) -> None:
    psp.answers(
        200, {**GOOD, "later": {"deep": [1]}, "metadata": "not an object", "error_message": 7}
    )
    answer = await refund()
    assert isinstance(answer, RefundAtPsp)
    assert answer.refund_id == "r1"


async def test_absent_duplicate_is_unknown(psp: FaultServer, refund: PostRefund) -> None:
    psp.answers(400, error("HE_01"))
    answer = await refund()
    assert isinstance(answer, Unknown)
    assert answer.why == "disagrees"


async def test_broken_connection_is_unknown(psp: FaultServer, refund: PostRefund) -> None:
    psp.resets()
    first = await refund()
    assert isinstance(first, Unknown)
    assert first.why == "connection"


async def test_absent_server_is_unknown(gateway_at: OpenGateway, refund_body: MakeRefund) -> None:
    gateway = await gateway_at("http://127.0.0.1:9")
    answer = await gateway.create_refund("r1", refund_body(), "USD")
    assert isinstance(answer, Unknown)
    assert answer.why == "connection"


async def test_silence_is_a_timeout(psp: FaultServer, refund: PostRefund) -> None:
    psp.hangs()
    answer = await refund(timeout=0.2)
    assert isinstance(answer, Unknown)
    assert answer.why == "timeout"


async def test_endless_answer_is_not_read_on(psp: FaultServer, refund: PostRefund) -> None:
    psp.sends(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * (LARGEST_ANSWER + 1),
        then_close=True,
    )
    answer = await refund()
    assert isinstance(answer, Unknown)
    assert answer.why == "unreadable"


@pytest.mark.parametrize(
    "secret",
    ["snd_abcdefgh12345678", "sk_live_abcdefgh12345678", "pay_1_secret_abcdefgh", "plainkey"],
)
@pytest.mark.parametrize("status", [400, 401, 500])
async def test_message_contains_no_secret(
    psp: FaultServer, refund: PostRefund, secret: str, status: int
) -> None:
    psp.answers(status, error("IR_01", f"The key {secret} is bad"))
    answer = await refund(api_key="plainkey")
    assert not isinstance(answer, RefundAtPsp)
    assert secret not in answer.message
    assert "[redacted]" in answer.message


async def test_message_is_bounded_and_storable(psp: FaultServer, refund: PostRefund) -> None:
    psp.answers(400, error("IR_06", "x\x00" * LONGEST_MESSAGE))
    answer = await refund()
    assert isinstance(answer, Rejected)
    assert len(answer.message) <= LONGEST_MESSAGE
    assert "\x00" not in answer.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": ""},
        {"api_key": "two words"},
        {"base_url": "ftp://psp"},
        {"timeout": 0},
        {"max_concurrency": 0},
    ],
)
def test_unusable_argument_is_refused_at_once(wrong: Json) -> None:
    good = {"api_key": "snd_plain", "base_url": "https://psp", "timeout": 1, "max_concurrency": 1}
    with pytest.raises(ValueError, match="HyperswitchGateway needs") as refused:
        HyperswitchGateway(**{**good, **wrong})
    assert "snd_plain" not in str(refused.value)
