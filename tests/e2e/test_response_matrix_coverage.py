"""Completeness of the response matrix."""

from collections.abc import Mapping
from typing import get_args, get_type_hints

import pytest

from infrastructure.simulators.common.fault_actions import Cut, Mangle, Silence, Stored500
from infrastructure.simulators.common.refusal import ErrorShape
from infrastructure.simulators.stripe.errors import CATALOGUE
from tests.support.injected_faults import Fault
from tests.support.response_matrix import NEVER_MET, ROWS, cases
from tests.support.service import CREATE, REVERSE


def uncovered(catalogue: Mapping[str, ErrorShape]) -> set[tuple[str, str]]:
    """Entries that one of the calls can meet and that have no row for it."""
    covered = {(case.call, case.row.entry) for case in cases()}
    return {
        (call, name)
        for call in (CREATE, REVERSE)
        for name in catalogue.keys() - NEVER_MET[call].keys()
    } - covered


def test_response_matrix_covers_every_catalogued_error() -> None:
    assert uncovered(CATALOGUE) == set()


def test_new_catalogue_entry_is_reported_missing() -> None:
    assert uncovered({**CATALOGUE, "invented": ErrorShape(400, "New.", "G")}) == {
        (CREATE, "invented"),
        (REVERSE, "invented"),
    }


def test_never_met_errors_are_catalogued_without_row() -> None:
    for call in (CREATE, REVERSE):
        assert NEVER_MET[call].keys() <= CATALOGUE.keys()
        assert not NEVER_MET[call].keys() & {
            case.row.entry for case in cases() if case.call == call
        }


@pytest.mark.parametrize("call", [CREATE, REVERSE])
def test_response_matrix_covers_every_lost_answer(call: str) -> None:
    ways = {
        kind
        for action in (Cut, Silence, Mangle, Stored500)
        for kind in get_args(get_type_hints(action)["kind"])
    }
    played = {
        case.row.stripe.kind
        for case in cases()
        if case.call == call and isinstance(case.row.stripe, Fault)
    }
    assert ways - played == set()


def test_response_matrix_ids_are_unique() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
