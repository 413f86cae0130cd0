"""Header `Stripe-Notice`: a log line, and no part of the outcome, although warnings are errors here."""

import pytest
from structlog.testing import capture_logs

from domain.provider_call.outcome import Rejected, Succeeded
from infrastructure.stripe.gateway import StripeGateway
from tests.infrastructure.stripe.test_gateway import REVERSAL
from tests.support.fault_server import FaultServer

NOTICE = {"Stripe-Notice": "This endpoint is deprecated."}


@pytest.mark.filterwarnings("error")
async def test_notice_is_logged_once_and_changes_no_outcome(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, REVERSAL, NOTICE)
    stripe.answers(200, REVERSAL, NOTICE)
    stripe.refuses(
        400,
        {"type": "invalid_request_error", "message": "No."},
        {"stripe-notice": "Another one.", "Stripe-Should-Retry": "false"},
    )
    with capture_logs() as lines:
        for key in ("k1", "k2"):
            outcome = await gateway.reverse("tr_1", 400, "refund", key)
            assert outcome == Succeeded("trr_1", 400, "req_1")
        refused = await gateway.reverse("tr_1", 400, "refund", "k3")
    assert isinstance(refused, Rejected)
    assert refused.stored, "the other headers are still read, in any case"
    assert [line["notice"] for line in lines] == [NOTICE["Stripe-Notice"], "Another one."]
