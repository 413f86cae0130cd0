"""Wordings of Stripe's errors that are only reported or guessed: each variant reaches the SDK as
Stripe's would."""

from typing import NamedTuple, cast

import pytest
import stripe
from stripe.params import TransferCreateParams

from infrastructure.simulators.stripe import SimulatorControl
from infrastructure.simulators.stripe.errors import CATALOGUE
from tests.infrastructure.simulators.stripe.conftest import StripeCaller
from tests.support.json_types import Json


class Variant(NamedTuple):
    error: str
    changes: Json
    raised: type[stripe.StripeError]
    code: str | None


LACKS, PLATFORM, SELLER = (
    "destination_lacks_capability",
    "platform_balance_too_low",
    "seller_balance_too_low",
)
REVERSED, ABOVE, SPENT = "already_fully_reversed", "reversal_above_rest", "source_overspent"
VARIANTS = [
    Variant(LACKS, {}, stripe.InvalidRequestError, "insufficient_capabilities_for_transfer"),
    Variant(LACKS, {"status": 403, "code": None}, stripe.PermissionError, None),
    Variant(PLATFORM, {}, stripe.InvalidRequestError, "balance_insufficient"),
    Variant(
        PLATFORM,
        {"message": "Your card balance is too low.", "code": None},
        stripe.InvalidRequestError,
        None,
    ),
    Variant(SELLER, {}, stripe.InvalidRequestError, None),
    Variant(
        SELLER, {"code": "balance_insufficient"}, stripe.InvalidRequestError, "balance_insufficient"
    ),
    Variant(
        SELLER,
        {"code": "insufficient_funds", "status": 402},
        stripe.CardError,
        "insufficient_funds",
    ),
    Variant(REVERSED, {}, stripe.InvalidRequestError, None),
    Variant(
        REVERSED,
        {"code": "charge_already_refunded"},
        stripe.InvalidRequestError,
        "charge_already_refunded",
    ),
    Variant(ABOVE, {}, stripe.InvalidRequestError, None),
    Variant(
        ABOVE,
        {"code": "amount_too_large", "param": None},
        stripe.InvalidRequestError,
        "amount_too_large",
    ),
    Variant(ABOVE, {"status": 404, "message": "No."}, stripe.InvalidRequestError, None),
    Variant(
        "source_currency_differs",
        {"code": "parameter_invalid"},
        stripe.InvalidRequestError,
        "parameter_invalid",
    ),
    Variant(SPENT, {}, stripe.InvalidRequestError, None),
    Variant(
        SPENT, {"code": "balance_insufficient"}, stripe.InvalidRequestError, "balance_insufficient"
    ),
    Variant(
        "no_such_destination",
        {"param": "transfer_data[destination]"},
        stripe.InvalidRequestError,
        "resource_missing",
    ),
    Variant(
        "no_such_transfer",
        {"param": "transfer", "status": 400},
        stripe.InvalidRequestError,
        "resource_missing",
    ),
    Variant(
        "parameter_missing",
        {"message": "Where to?"},
        stripe.InvalidRequestError,
        "parameter_missing",
    ),
    Variant(
        "invalid_api_key", {"code": "platform_api_key_expired"}, stripe.AuthenticationError, None
    ),
    Variant("key_in_use", {"type": "idempotency_error"}, stripe.APIError, None),
    Variant("key_reused", {"code": "idempotency_mismatch"}, stripe.IdempotencyError, None),
    Variant("rate_limited", {"message": "Slower.", "status": 400}, stripe.RateLimitError, None),
]
BODY = {"amount": 2000, "currency": "usd", "destination": "acct_seller"}


class ErrorTriggers:
    """By name of the error: prepare the simulator, then make the call that it refuses."""

    def __init__(self, sdk: stripe.StripeClient, control: SimulatorControl) -> None:
        self.sdk, self.control = sdk, control

    async def transfer(self, key: str = "refused", **changes: object) -> stripe.Transfer:
        body = {name: value for name, value in {**BODY, **changes}.items() if value is not None}
        return await self.sdk.v1.transfers.create_async(
            cast(TransferCreateParams, body), {"idempotency_key": key}
        )

    async def reverse(self, amount: int, transfer_id: str | None = None) -> object:
        id_ = transfer_id or (await self.transfer("made")).id
        return await self.sdk.v1.transfers.reversals.create_async(
            id_, {"amount": amount}, {"idempotency_key": f"r{amount}"}
        )

    async def destination_lacks_capability(self) -> None:
        await self.control.change_account("acct_seller", transfers_capability="inactive")
        await self.transfer()

    async def platform_balance_too_low(self) -> None:
        await self.control.drain("usd")
        await self.transfer()

    async def seller_balance_too_low(self) -> None:
        made = await self.transfer("made")
        await self.control.pay_out("acct_seller", "usd")
        await self.reverse(5, made.id)

    async def already_fully_reversed(self) -> None:
        made = await self.transfer("made")
        await self.reverse(2000, made.id)
        await self.reverse(1, made.id)

    async def reversal_above_rest(self) -> None:
        await self.reverse(2001)

    async def source_currency_differs(self) -> None:
        await self.control.create_charge("ch_1", "eur", 5000)
        await self.transfer(source_transaction="ch_1")

    async def source_overspent(self) -> None:
        await self.control.create_charge("ch_1", "usd", 1999)
        await self.transfer(source_transaction="ch_1")

    async def no_such_destination(self) -> None:
        await self.transfer(destination="acct_missing")

    async def no_such_transfer(self) -> None:
        await self.reverse(5, "tr_nothing")

    async def parameter_missing(self) -> None:
        await self.transfer(destination=None)

    async def invalid_api_key(self) -> None:
        await self.control.tune(accepted_keys=[])
        await self.transfer()

    async def key_in_use(self) -> None:
        await self.control.hold("transfers.create", on_disconnect="wait")
        with pytest.raises(stripe.APIConnectionError):
            await self.transfer()
        await self.transfer()

    async def key_reused(self) -> None:
        await self.transfer()
        await self.transfer(amount=1)

    async def rate_limited(self) -> None:
        await self.control.fault("status", "transfers.create", status=429)
        await self.transfer()


@pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda variant: f"{variant.error} {variant.changes}"
)
async def test_error_variant_is_raised_as_sdk_reads_it(
    sdk: stripe.StripeClient, control: SimulatorControl, variant: Variant
) -> None:
    if variant.changes:
        await control.reword(variant.error, **variant.changes)
    with pytest.raises(variant.raised) as raised:
        await getattr(ErrorTriggers(sdk, control), variant.error)()
    error, shape = raised.value, {**CATALOGUE_AS_DATA[variant.error], **variant.changes}
    assert type(error) is variant.raised
    assert (error.http_status, error.code) == (shape["status"], variant.code)
    shown = cast(Json, error.json_body)["error"]
    assert (shown.get("code"), shown["type"]) == (shape["code"], shape["type"])


CATALOGUE_AS_DATA = {
    name: {"status": shape.status, "code": shape.code, "type": shape.type}
    for name, shape in CATALOGUE.items()
}


@pytest.mark.parametrize("value", ["true", ""])
async def test_should_retry_header_can_be_switched(
    api: StripeCaller, control: SimulatorControl, value: str
) -> None:
    """The header was never seen on a transfer's `balance_insufficient`; it may be missing there."""
    await control.drain("usd")
    assert (await api.transfer()).headers["stripe-should-retry"] == "false"
    await control.reword(PLATFORM, should_retry=value)
    assert (await api.transfer()).headers.get("stripe-should-retry", "") == value


def test_catalogue_entries_all_have_evidence() -> None:
    assert [
        name for name, shape in CATALOGUE.items() if not set(shape.evidence) & set("WDSKPG")
    ] == []
