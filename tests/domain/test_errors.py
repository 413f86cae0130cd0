"""Errors of the ledger: each says what was wrong, and carries it for programs."""

from uuid import UUID

import pytest

from domain import errors
from domain.errors import LedgerError

T = UUID(int=7)


def errors_with_parts() -> list[tuple[LedgerError, dict[str, object]]]:
    return [
        (
            errors.IllegalTransition(T, "pending", "reversed", "Reversed"),
            {"transfer_id": T, "before": "pending", "after": "reversed", "fact": "Reversed"},
        ),
        (
            errors.ContentDiffers("refund", "r1", ["amount", "reason"]),
            {"kind": "refund", "name": "r1", "differences": ("amount", "reason")},
        ),
        (
            errors.ImportDiffers("o1", "ada", "5 EUR", "6 EUR"),
            {"kind": "order", "name": "o1", "differences": ("ada",)},
        ),
        (errors.UnknownId("order", "o1"), {"kind": "order", "name": "o1"}),
        (
            errors.CollectedDiffers("o1", "pay_1", received="5 EUR", ordered="6 EUR"),
            {"kind": "order", "name": "o1", "differences": ("amount received",)},
        ),
        (
            errors.PaymentVoided("o1", "pay_1"),
            {"kind": "order", "name": "o1", "differences": ("payment_id",)},
        ),
        (errors.AwaitsPayment("o1", "r1", 500, 400), {"order_id": "o1", "refund_id": "r1"}),
        (
            errors.Contradiction("Refund", "r1", "failed", "succeeded", 4),
            {
                "kind": "Refund",
                "name": "r1",
                "recorded": "failed",
                "reported": "succeeded",
                "version": 4,
            },
        ),
        (errors.OutdatedAnswer("r1", 3, 4), {"refund_id": "r1"}),
        (errors.NotTheAuthority("o1"), {"order_id": "o1"}),
        (
            errors.OtherPayment("o1", "pay_1", "pay_2"),
            {"order_id": "o1", "paid_by": "pay_1", "told": "pay_2"},
        ),
        (
            errors.ExceedsOrder("Refund 'r1'", 500, 400, "EUR"),
            {"what": "Refund 'r1'", "asked": 500, "left": 400, "currency": "EUR"},
        ),
        (errors.CallInFlight(T), {"transfer_id": T}),
        (errors.NothingToRetry(T, "it is paid"), {"transfer_id": T, "why": "it is paid"}),
        (errors.NothingToRead("o1", "it is known"), {"order_id": "o1", "why": "it is known"}),
        (errors.NothingToResolve(T, "it is paid"), {"transfer_id": T, "why": "it is paid"}),
        (errors.NothingToDecide("Refund", "r1", "it is counted"), {}),
        (errors.EvidenceDiffers("tr_1", "is of another order"), {"stripe_id": "tr_1"}),
        (errors.PspRefused("refund 'r1'", "IR_13"), {"what": "refund 'r1'", "why": "IR_13"}),
        (errors.NotAdoptable("F-1", "it is too old"), {"name": "F-1", "why": "it is too old"}),
        (errors.Conflict([(T, 3)]), {"taken": ((T, 3),)}),
        (errors.OrderBusy("o1"), {"taken": ()}),
        (
            errors.ConstraintBroken("one_sale", "a row"),
            {"constraint": "one_sale", "detail": "a row"},
        ),
        (errors.StripeSilent("tr_1", "timeout"), {"stripe_id": "tr_1", "why": "timeout"}),
        (errors.PspSilent("refund 'r1'", "timeout"), {"what": "refund 'r1'", "why": "timeout"}),
        (errors.Unavailable("read only"), {"why": "read only", "in_doubt": False}),
        (
            errors.Unavailable("cut off", in_doubt=True),
            {"why": "cut off", "in_doubt": True},
        ),
        (errors.NewerRelease("ledger.gift"), {"topic": "ledger.gift", "in_doubt": False}),
    ]


def every_error(kind: type[LedgerError] = LedgerError) -> set[type[LedgerError]]:
    return {kind}.union(*(every_error(one) for one in kind.__subclasses__()))


@pytest.mark.parametrize("number", range(len(errors_with_parts())))
def test_error_carries_its_parts_and_says_them(number: int) -> None:
    error, carried = errors_with_parts()[number]
    assert {name: vars(error).get(name) for name in carried} == carried
    said = str(error)
    assert " " in said, "a person reads it"
    told = [value for value in carried.values() if isinstance(value, str | int | UUID)]
    hidden = {"order", "in_doubt", 4, True, False}
    assert [value for value in told if value not in hidden and str(value) not in said] == []


def test_codes_of_errors_name_one_kind_each() -> None:
    codes = [kind.code for kind in every_error() if "code" in vars(kind)]
    assert len(codes) == len(set(codes))


def test_unavailable_database_says_whether_a_request_may_be_stored() -> None:
    assert "nothing was stored" in str(errors.Unavailable("read only"))
    assert "unknown whether" in str(errors.Unavailable("cut off", in_doubt=True))


def test_collected_amount_names_the_recorded_one_only_if_there_is_one() -> None:
    said = str(
        errors.CollectedDiffers("o1", None, received="5 EUR", ordered="6 EUR", recorded="7 EUR")
    )
    assert said.startswith("The payment of order 'o1' received 5 EUR")
    assert "and 7 EUR are recorded" in said
    other = str(errors.CollectedDiffers("o1", "pay_1", received="5 EUR", ordered="6 EUR"))
    assert other.startswith("Payment 'pay_1' of order 'o1'")
    assert "recorded" not in other
