"""Names of our orders and refunds at the PSP."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.provider_call.psp_objects import LONGEST_NAME, name_at_psp

FITTING = re.compile(r"[A-Za-z0-9_-]{1,30}")
OUR_IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)


@pytest.mark.parametrize(
    "our_id", ["r1", "order-2026_07", "x" * LONGEST_NAME, "tl_short", "tl_" + "A" * 27]
)
def test_fitting_id_is_its_own_name(our_id: str) -> None:
    assert name_at_psp(our_id) == our_id


@pytest.mark.parametrize(
    "our_id",
    [
        "a:b",
        "a/b",
        "x" * (LONGEST_NAME + 1),
        "a.b",
        "é",
        "",
        "018f3c1e-8f0a-7cc3-98c4-dc0c0c07398f",
    ],
)
def test_other_ids_get_a_name_of_thirty_characters(our_id: str) -> None:
    name = name_at_psp(our_id)
    assert len(name) == LONGEST_NAME
    assert FITTING.fullmatch(name)


@given(OUR_IDS)
def test_every_name_fits(our_id: str) -> None:
    assert FITTING.fullmatch(name_at_psp(our_id))


@given(OUR_IDS, OUR_IDS)
def test_two_ids_never_share_a_name(one: str, other: str) -> None:
    assert (name_at_psp(one) == name_at_psp(other)) is (one == other)


@given(OUR_IDS)
def test_name_cannot_be_taken_by_a_similar_id(our_id: str) -> None:
    name = name_at_psp(our_id)
    assert name == our_id or name_at_psp(name) != name


def test_name_is_permanent() -> None:
    assert name_at_psp("order:2026/07") == "tl_yzhhzourg44jowiy2btrelddvet"
