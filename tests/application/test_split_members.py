"""Members about a split, in the shapes of Hyperswitch's versions."""

import pytest

from application.split_members import reverts_transfer, shown_split, split_payment
from domain.provider_call.psp_objects import SplitPayment

STRIPE = {
    "charge_type": "destination",
    "application_fees": 100,
    "transfer_account_id": "acct_1",
    "charge_id": "ch_1",
}
EXPECTED = SplitPayment("destination", "acct_1", "ch_1")


@pytest.mark.parametrize(
    ("payment", "expected"),
    [
        ({"split_payments": {"stripe_split_payment": STRIPE}}, EXPECTED),
        ({"charges": STRIPE}, EXPECTED),
        ({"charges": {"stripe_split_payment": STRIPE}, "split_payments": None}, EXPECTED),
        (
            {"charges": {**STRIPE, "charge_type": {"Stripe": "Destination"}}},
            EXPECTED,
        ),
        ({"split_payments": {"adyen_split_payment": {"store": "x"}}}, SplitPayment("unknown")),
        ({"split_payments": None, "charges": None}, None),
        ({"split_payments": {}, "charges": "odd"}, None),
        ({}, None),
    ],
)
def test_split_of_a_payment_is_read(
    payment: dict[str, object], expected: SplitPayment | None
) -> None:
    assert split_payment(payment) == expected


def test_polled_split_reads_like_the_webhook() -> None:
    assert split_payment({"split_payments": shown_split(EXPECTED)}) == EXPECTED
    assert shown_split(None) is None


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"stripe_split_refund": {"revert_transfer": True, "revert_platform_fee": False}}, True),
        ({"revert_transfer": True}, True),
        ({"stripe_split_refund": {"revert_transfer": False}}, False),
        ({"stripe_split_refund": {"revert_transfer": None}}, False),
        ({"adyen_split_refund": {}}, False),
        (None, False),
        ("odd", False),
    ],
)
def test_flag_of_a_refund_is_read(split: object, expected: bool) -> None:
    assert reverts_transfer({"split_refunds": split}) is expected
