"""Reads of any object by its path, in both of Stripe's APIs."""

import pytest

from domain.provider_call.outcome import LookUpFailed, NotAtStripe, ProviderSignal
from infrastructure.stripe.gateway import StripeGateway
from tests.support.fault_server import FaultServer

ACCOUNT = "/v2/core/accounts/acct_1"


async def test_account_of_the_v2_api_is_read_with_its_configuration(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, {"id": "acct_1", "object": "v2.core.account"})
    read = await gateway.get_object(f"{ACCOUNT}?include[0]=configuration.recipient")
    assert read["id"] == "acct_1"
    path = stripe.requests[0].path
    assert path in (
        f"{ACCOUNT}?include%5B0%5D=configuration.recipient",
        f"{ACCOUNT}?include[0]=configuration.recipient",
    )


@pytest.mark.parametrize("path", [ACCOUNT, "/v1/accounts/acct_1"])
@pytest.mark.parametrize("code", ["not_found", "resource_missing", None])
async def test_object_that_stripe_does_not_have_is_absent(
    stripe: FaultServer, gateway: StripeGateway, path: str, code: str | None
) -> None:
    error = {"type": "invalid_request_error", "message": "No such account"}
    stripe.refuses(404, error if code is None else {**error, "code": code})
    with pytest.raises(NotAtStripe):
        await gateway.get_object(path)


@pytest.mark.parametrize("path", [ACCOUNT, "/v1/accounts/acct_1"])
async def test_object_that_our_key_may_not_read_is_unread(
    stripe: FaultServer, gateway: StripeGateway, path: str
) -> None:
    stripe.refuses(403, {"type": "invalid_request_error", "message": "not for this key"})
    with pytest.raises(LookUpFailed) as unread:
        await gateway.get_object(path)
    assert unread.value.signal is ProviderSignal.FORBIDDEN


async def test_other_path_is_refused(gateway: StripeGateway) -> None:
    with pytest.raises(ValueError, match="A path such as"):
        await gateway.get_object("/v3/accounts/acct_1")
