"""Ids made by this ledger: the same thing has the same id, and two things never share one."""

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identity import (
    SALE,
    compensation,
    dispute_cause,
    dispute_stream,
    finding_stream,
    order_stream,
    refund_stream,
    reversal_name,
    streams_of_cause,
    transfer_stream,
    webhook_stream,
)
from domain.seller_transfer.external_reversals import external_id

NAMES = st.text(st.sampled_from('ab:,"[]\\ é'), min_size=1, max_size=6)
TRANSFER = UUID(int=7)


def test_ids_are_permanent() -> None:
    """A changed id would pay every known order a second time."""
    assert str(order_stream("order-1")) == "186ea56b-00a0-5069-9cb0-f95aa9a069f4"
    assert str(refund_stream("refund-1")) == "8d28388f-2331-50cf-b33b-e2110e597815"
    assert str(transfer_stream("order-1", "ada")) == "c276192f-b5de-540f-9ba0-82d56e8ca211"
    assert str(reversal_name(TRANSFER, "refund-1")) == "1727dfe2-0d16-56aa-be51-67b038c67f41"
    assert (
        compensation(TRANSFER, "refund-1")
        == '["compensation","00000000-0000-0000-0000-000000000007","refund-1",1]'
    )


def test_joined_names_do_not_collide() -> None:
    assert transfer_stream("a:b", "c") != transfer_stream("a", "b:c")
    assert transfer_stream("a", "b,c") != transfer_stream("a,b", "c")
    assert transfer_stream('a","b', "c") != transfer_stream("a", 'b","c')


@settings(derandomize=True, max_examples=300)
@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_orders_and_sellers_never_share_a_transfer(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (transfer_stream(*one) == transfer_stream(*other)) == (one == other)


@given(NAMES)
@settings(derandomize=True, max_examples=100)
def test_same_name_gives_another_id_per_kind(name: str) -> None:
    ids = [
        order_stream(name),
        refund_stream(name),
        transfer_stream(name, name),
        transfer_stream(name, name, name),
        reversal_name(TRANSFER, name),
        reversal_name(TRANSFER, name, 2),
        UUID(external_id(TRANSFER, name)),
    ]
    assert len(set(ids)) == len(ids)


def test_compensation_has_its_own_transfer_id() -> None:
    sale = transfer_stream("order-1", "ada", SALE)
    causes = [compensation(sale, refund, n) for refund in ("r1", "r2") for n in (1, 2)]
    causes += [compensation(transfer_stream("order-1", "ada", causes[0]), "r1")]
    ids = {sale, *(transfer_stream("order-1", "ada", cause) for cause in causes)}
    assert len(ids) == 6


def test_cause_leads_to_the_streams_that_may_record_it() -> None:
    assert streams_of_cause("r1") == [refund_stream("r1")]
    assert streams_of_cause(dispute_cause("dp_1")) == [
        dispute_stream("hyperswitch", "dp_1"),
        dispute_stream("stripe", "dp_1"),
    ]


def test_streams_of_decisions_are_permanent() -> None:
    assert str(finding_stream("amount-1")) == "8fb469c3-58bf-5098-8aad-d5788effb95d"
    assert str(webhook_stream("stripe", "evt_1")) == "682a4065-18b2-554c-a7b9-c9fdfac92cf4"
