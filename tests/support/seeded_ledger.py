"""Ledger of any size, with facts that the domain decides.

The facts are copied into the tables past the group commit. Positions, hash chain and rows are those
of `ledger_append`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from domain.dispute import Dispute, DisputeStatus
from domain.fact import Fact, Stream
from domain.finding import DecidedBy, Difference, DifferenceKind, Finding
from domain.order.aggregate import Order
from domain.order.recovery import parts_of, pay_sellers, recover_shares
from domain.order.state import Share
from domain.pause import Pause, scope_of_seller
from domain.payout import Payout, PayoutStatus
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Send
from domain.refund.aggregate import Refund
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal_outcome import complete_reversal, record_unknown_transfer
from domain.seller_transfer.stripe_call import begin
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.postgres.event_store import RecordedFact
from infrastructure.postgres.integrity.hash_chain import GENESIS, link
from infrastructure.postgres.ledger import FactCodec
from projections.registry import DERIVED, rows_of

START, POLICY = datetime(2026, 1, 5, 8, 0, tzinfo=UTC), Policy()
FACTS_PER_ORDER, ORDERS_AT_A_TIME = 17, 500
EVENT_COLUMNS = (
    "originator_id",
    "originator_version",
    "topic",
    "state",
    "notification_id",
    "digest",
)


def load_ledger(database_url: str, facts: int, name: str = "o") -> int:
    """Fill an empty database with at least this many facts and their rows; return the number of
    facts."""
    position, head, source = 0, GENESIS, _orders(name)
    with psycopg.connect(database_url) as connection:
        connection.execute("set ledger.appending = 'yes'")
        while position < facts:
            count = min(ORDERS_AT_A_TIME, (facts - position) // FACTS_PER_ORDER + 1)
            streams = [list(stream) for order in islice(source, count) for stream in order]
            recorded = list(_chained(streams, position, head))
            position, head = recorded[-1].position, recorded[-1].digest
            _copy(connection, "ledger_events", EVENT_COLUMNS, recorded)
            _copy_rows(connection, streams)
            connection.commit()
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze")
    return position


def _chained(
    streams: Sequence[Sequence[Fact]], position: int, head: bytes
) -> Iterator[RecordedFact]:
    codec = FactCodec()
    for fact in (fact for stream in streams for fact in stream):
        position += 1
        bare = RecordedFact(*codec.stored(fact), position, b"")
        head = link(head, bare)
        yield bare._replace(digest=head)


def _copy_rows(connection: psycopg.Connection[TupleRow], streams: Sequence[Sequence[Fact]]) -> None:
    tables = [rows_of(stream) for stream in streams]
    for derived in DERIVED:
        rows = [row for table in tables for row in table.get(derived.table, ())]
        _copy(connection, derived.table, derived.columns, rows)


def _copy(
    connection: psycopg.Connection[TupleRow],
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
) -> None:
    into = SQL("copy {} ({}) from stdin").format(
        Identifier(table), SQL(", ").join(map(Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row(
                [
                    Jsonb(cell) if isinstance(cell, list) and not _is_array(cell) else cell
                    for cell in row
                ]
            )


def _is_array(cell: list[object]) -> bool:
    """Return whether the cell is an array of names; other lists are JSON."""
    return bool(cell) and isinstance(cell[0], str)


def _orders(name: str) -> Iterator[list[Sequence[Fact]]]:
    """Iterate without end over orders, each with the facts of all its streams."""
    number = 0
    while True:
        number += 1
        yield [_facts(stream) for stream in _order(f"{name}-{number}", number)]


def _facts(stream: Stream) -> list[Fact]:
    return [fact for fact in stream.pending_events if isinstance(fact, Fact)]


def _order(order_id: str, number: int) -> list[Stream]:
    """Make an order of two sellers that is paid and partly refunded. One order in seven has a
    transfer that Stripe lacks."""
    now = START + timedelta(seconds=number)
    shares = [
        Share(
            seller_id=f"s{number % 97 + n}",
            destination=f"acct_1s{number % 97 + n}",
            amount=4_000 + n,
        )
        for n in (0, 1)
    ]
    order = Order.register(order_id=order_id, currency="EUR", amount=10_000, shares=shares, now=now)
    order.pay(f"pay_{order_id}", None, "api", now)
    transfers = pay_sellers(order, now)
    for transfer in transfers:
        _sent(transfer, now)
    refund = Refund.open(
        refund_id=f"re-{order_id}",
        order_id=order_id,
        amount=2_500,
        currency="EUR",
        origin="settled",
        now=now,
    )
    order.allocate_refund(refund.key, refund.amount, "EUR", None, now)
    recover_shares(order, transfers, refund.key, now)
    refund.succeed("api", parts_of(order, transfers, refund.key), now)
    for transfer in transfers[: 1 if number % 7 == 0 else 2]:
        _reversed(transfer, now, gone=number % 7 == 3)
    others = (
        [_paused(f"s-{order_id}", now), _disputed(order_id, now), _paid_out(order_id, now)]
        if number % 5 == 1
        else []
    )
    ignored = [_ignored(transfers[0], now)] if number % 5 == 2 else []
    return [order, refund, *transfers, *others, *ignored]


def _disputed(order_id: str, now: datetime) -> Dispute:
    """Make a dispute in which no money has moved."""
    dispute = Dispute.open(
        dispute_id=f"dp-{order_id}",
        provider="hyperswitch",
        order_id=order_id,
        amount=10_000,
        currency="EUR",
        reason=None,
        source="api",
        now=now,
    )
    dispute.report(DisputeStatus.CHALLENGED, "api", now)
    return dispute


def _paid_out(order_id: str, now: datetime) -> Payout:
    payout = Payout.announce(
        payout_id=f"po-{order_id}",
        account="acct_1s1",
        seller_ids=["s1"],
        amount=4_000,
        currency="EUR",
        arrival_date=now + timedelta(days=2),
        source="api",
        now=now,
    )
    payout.report(PayoutStatus.PAID, None, "api", now)
    return payout


def _paused(seller_id: str, now: datetime) -> Pause:
    pause = Pause.install(scope_of_seller(seller_id), now)
    pause.pause("mia", "account under review", now, lost_since=now)
    return pause


def _ignored(transfer: SellerTransfer, now: datetime) -> Finding:
    stripe_id = f"trr_{transfer.id.hex}x"
    taken = Difference(
        DifferenceKind.EXTERNAL_REVERSAL,
        stripe_id,
        f"tr_{transfer.id.hex}",
        transfer.id,
        5,
        "EUR",
        "Taken back.",
        None,
        "x",
    )
    finding = Finding.note(taken, now)
    finding.ignore(DecidedBy("mia", "agreed on the phone"), now)
    return finding


def _sent(transfer: SellerTransfer, now: datetime) -> None:
    step = begin(transfer, now, POLICY)
    assert isinstance(step, Send)
    complete(transfer, f"tr_{transfer.id.hex}", transfer.amount, None, now)


def _reversed(transfer: SellerTransfer, now: datetime, *, gone: bool) -> None:
    step = begin(transfer, now, POLICY)
    assert isinstance(step, Send)
    reversal = transfer.reversals[step.what]
    if gone:
        record_unknown_transfer(transfer, "No such transfer", None, now)
    else:
        complete_reversal(transfer, step.what, f"trr_{transfer.id.hex}", reversal.amount, None, now)
