"""Decisions of a person about a difference from Stripe's books."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.finding import DecidedBy, Difference, DifferenceKind, Finding, Noted
from tests.support.domain_story import FactStorage

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
MIA = DecidedBy("mia", "known to the bank")
OURS = UUID(int=7)
DIFFERENCE = Difference(
    kind=DifferenceKind.EXTERNAL_REVERSAL,
    stripe_id="trr_1",
    stripe_transfer_id="tr_1",
    transfer_id=OURS,
    at_risk=400,
    currency="EUR",
    detail="others took 400",
    obstacle=None,
    reversal_id="rev-1",
)


def noted(finding: Finding) -> Noted:
    fact = finding.pending_events[0]
    assert isinstance(fact, Noted)
    return fact


def told(finding: Finding) -> list[str]:
    return [type(fact).__name__ for fact in finding.pending_events]


def test_note_keeps_everything_that_was_found() -> None:
    fact = noted(Finding.note(DIFFERENCE, NOW))
    assert (fact.kind, fact.stripe_id, fact.stripe_transfer_id) == (
        "external_reversal",
        "trr_1",
        "tr_1",
    )
    assert (fact.transfer_id, fact.reversal_id) == (str(OURS), "rev-1")
    assert (fact.at_risk, fact.currency, fact.detail) == (400, "EUR", "others took 400")
    assert (fact.finding_id, fact.timestamp) == (DIFFERENCE.id, NOW)


def test_transfer_that_is_not_ours_is_noted_without_an_id() -> None:
    assert noted(Finding.note(DIFFERENCE._replace(transfer_id=None), NOW)).transfer_id is None


def test_ids_of_findings_are_permanent() -> None:
    """A changed id would forget each decision."""
    assert DIFFERENCE.id == "external_reversal-8715c6e32afc"


@pytest.mark.parametrize(
    "other",
    [
        DIFFERENCE._replace(kind=DifferenceKind.AMOUNT),
        DIFFERENCE._replace(stripe_id="trr_2"),
        DIFFERENCE._replace(transfer_id=None),
        DIFFERENCE._replace(reversal_id=None),
        DIFFERENCE._replace(at_risk=401),
        DIFFERENCE._replace(currency="USD"),
    ],
)
def test_another_difference_is_another_finding(other: Difference) -> None:
    assert other.id != DIFFERENCE.id
    assert Finding.note(other, NOW).id != Finding.note(DIFFERENCE, NOW).id


def test_decision_is_recorded_once_and_can_be_taken_back() -> None:
    finding = Finding.note(DIFFERENCE, NOW)
    assert finding.unignore(MIA, NOW) is False, "nothing was decided"
    assert [finding.ignore(MIA, NOW), finding.ignore(MIA, NOW)] == [True, False]
    assert [finding.unignore(MIA, NOW), finding.unignore(MIA, NOW)] == [True, False]
    finding.ignore(MIA, NOW)
    finding.adopt(MIA, NOW)
    assert finding.ignored is False
    assert told(finding) == ["Noted", "Ignored", "IgnoreTakenBack", "Ignored", "Adopted"]
    for fact in finding.pending_events[1:]:
        stored = vars(fact)
        assert (stored["actor"], stored["reason"]) == ("mia", "known to the bank")
        assert stored["finding_id"] == DIFFERENCE.id


def test_stored_finding_reads_back_unchanged(storage: FactStorage) -> None:
    finding = Finding.note(DIFFERENCE, NOW)
    finding.ignore(MIA, NOW)
    read = storage.replayed(list(finding.collect_events()))
    assert isinstance(read, Finding)
    assert (read.finding_id, read.ignored, read.version) == (DIFFERENCE.id, True, 2)
