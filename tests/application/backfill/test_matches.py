"""Matching of rows without a Stripe id to transfers at Stripe; doubtful matches are never made."""

from collections.abc import Set
from datetime import UTC, datetime, timedelta
from uuid import UUID

from application.backfill.matches import Doubt, Match, Missing, matched
from application.gateways import ListedTransfer
from domain.provider_call.stripe_objects import TransferAtStripe

THEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(
    number: int,
    order_id: str = "o1",
    *,
    transfer_group: str | None = None,
    source: str | None = None,
    begun_at: datetime | None = THEN,
    status: str = "completed",
    open: bool = False,
) -> Missing:
    return Missing(
        transfer_id=UUID(int=number),
        order_id=order_id,
        seller_id="a",
        destination="acct_1",
        amount=900,
        currency="EUR",
        status=status,
        transfer_group=transfer_group or order_id,
        source_transaction=source,
        begun_at=begun_at,
        open=open,
    )


def theirs(
    name: str,
    *,
    named: int | None = None,
    order: str | None = None,
    group: str | None = None,
    source: str | None = None,
    hours: int = 0,
) -> ListedTransfer:
    ours = str(UUID(int=named)) if named is not None else None
    seen = TransferAtStripe(name, 900, 0, "EUR", "acct_1", ours)
    return ListedTransfer(seen, THEN + timedelta(hours=hours), order, group, source)


def outcome(
    rows: list[Missing], listed: list[ListedTransfer], claimed: Set[str] = frozenset()
) -> dict[int, str | None]:
    """Return, by row, the matched Stripe id, or None where a person has to decide."""
    decided = list(matched(rows, listed, claimed))
    assert len(decided) == len(rows)
    return {
        one.missing.transfer_id.int: one.stripe_transfer_id if isinstance(one, Match) else None
        for one in decided
    }


def test_stronger_mark_decides() -> None:
    listed = [theirs("tr_a", group="o1"), theirs("tr_b", order="o1"), theirs("tr_c", named=1)]
    assert outcome([row(1)], listed) == {1: "tr_c"}
    assert outcome([row(1)], listed[:2]) == {1: "tr_b"}


def test_two_rows_with_one_candidate_get_nothing() -> None:
    assert outcome([row(1), row(2)], [theirs("tr_a", group="o1")]) == {1: None, 2: None}


def test_equal_candidates_are_not_paired() -> None:
    listed = [theirs("tr_a", group="o1"), theirs("tr_b", group="o1")]
    assert outcome([row(1), row(2)], listed) == {1: None, 2: None}


def test_doubtful_candidate_is_not_given_to_another() -> None:
    """The transfer bears the group of the first row but contradicts its time; by amount and time it
    would fit the second row."""
    first, second = (
        row(1, transfer_group="group_pi_1", begun_at=THEN + timedelta(days=9)),
        row(2, "o2"),
    )
    listed = [theirs("tr_a", group="group_pi_1")]
    assert outcome([second], listed) == {2: "tr_a"}
    assert outcome([first, second], listed) == {1: None, 2: None}


def test_metadata_of_another_order_opposes_the_group() -> None:
    first, second = row(1, "o1", transfer_group="g"), row(2, "o2", transfer_group="g")
    listed = [theirs("tr_a", order="o1", group="g"), theirs("tr_b", group="g")]
    assert outcome([first, second], listed) == {1: "tr_a", 2: "tr_b"}


def test_known_stripe_ids_are_no_candidates() -> None:
    listed = [theirs("tr_a", group="o1"), theirs("tr_b", group="o1")]
    assert outcome([row(1)], listed, {"tr_a"}) == {1: "tr_b"}
    assert outcome([row(1)], listed, {"tr_a", "tr_b"}) == {1: None}


def test_generated_stripe_group_is_no_mark() -> None:
    assert outcome([row(1)], [theirs("tr_a", group="group_pi_1")]) == {1: "tr_a"}
    assert outcome([row(1)], [theirs("tr_a", group="another order")]) == {1: None}


def test_only_candidate_without_time_fits_only_paid_rows() -> None:
    alone = [theirs("tr_a", hours=-10_000)]
    assert outcome([row(1, begun_at=None)], alone) == {1: "tr_a"}
    assert outcome([row(1, begun_at=None, open=True, status="pending")], alone) == {1: None}
    assert outcome([row(1, open=True, status="pending")], [theirs("tr_a")]) == {1: "tr_a"}


def test_time_mismatch_is_named() -> None:
    (doubt,) = matched([row(1)], [theirs("tr_a", hours=72)], set())
    assert isinstance(doubt, Doubt)
    assert (doubt.candidates, doubt.why) == (
        ["tr_a"],
        "it fits by amount and time, but not by its time, 2026-03-04T12:00:00Z",
    )


def test_reversed_transfer_completes_no_open_row() -> None:
    """The transfer may have been reversed because it was wrong: if it completed the row, the seller
    would never be paid."""
    listed = theirs("tr_a", group="o1")
    back = listed._replace(transfer=listed.transfer._replace(amount_reversed=900))
    assert outcome([row(1, status="pending", open=True)], [back]) == {1: None}
    assert outcome([row(1)], [back]) == {1: "tr_a"}, "what was paid was paid by it all the same"
    named = back._replace(transfer=back.transfer._replace(transfer_id=str(UUID(int=1))))
    assert outcome([row(1, status="pending", open=True)], [named]) == {1: "tr_a"}, (
        "our mark decides"
    )


def test_charge_identifies_transfers_whose_group_stripe_has_replaced() -> None:
    """Two orders of the same amount to the same seller on the same day: only their charges
    differ."""
    rows = [row(1, "o1", source="ch_1"), row(2, "o2", source="ch_2")]
    listed = [
        theirs("tr_2", group="group_pi_2", source="ch_2"),
        theirs("tr_1", group="group_pi_1", source="ch_1"),
    ]
    assert outcome(rows, listed) == {1: "tr_1", 2: "tr_2"}


def test_transfer_from_another_charge_is_no_candidate() -> None:
    rows = [row(1, "o1", source="ch_1")]
    assert outcome(rows, [theirs("tr_2", group="group_pi_2", source="ch_2")]) == {1: None}
