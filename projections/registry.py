"""Registry of read models: for each aggregate its facts, its tables and its history sentences.

One row is the fold of exactly one stream. A loaded stream therefore yields its rows in the same
pass: append, rebuild, `as_of` queries and verification are the same fold, without a second query or
a lock. A new read model needs a file here with its row and `evolve`, a file in `sentences/`, an
entry in `READ_MODELS`, a migration (the table, and its branch in the SQL function `ledger_append`)
and its name in `TABLES` of `infrastructure/postgres/event_store.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from types import UnionType
from typing import NamedTuple, TypeVar, get_args

from domain.dispute import AnyDisputeFact
from domain.errors import NewerRelease
from domain.fact import Fact
from domain.finding import AnyFindingFact
from domain.order.facts import AnyOrderFact
from domain.pause import AnyPauseFact
from domain.payout import AnyPayoutFact
from domain.refund.facts import AnyRefundFact
from domain.seller_account import AnySellerAccountFact
from domain.seller_transfer.facts import AnyTransferFact
from domain.webhook import AnyWebhookFact
from projections import (
    decisions,
    disputes,
    findings,
    orders,
    pauses,
    payouts,
    refunds,
    transfer_and_reversals,
)
from projections.alarms import (
    RAISED_BY_FACTS,
    AlarmRow,
    latest_alarms,
    still_troubled,
)
from projections.alarms import alarms as alarm_rows
from projections.decisions import DecisionFold
from projections.disputes import DisputeRow
from projections.findings import FindingRow
from projections.orders import OrderRow
from projections.pauses import PauseRow
from projections.payouts import PayoutRow
from projections.refunds import RefundRow
from projections.seller_transfers import SellerTransferRow
from projections.sentences import (
    decision,
    dispute,
    finding,
    order,
    pause,
    payout,
    refund,
    seller_transfer,
)
from projections.transfer_and_reversals import TransferFold
from projections.transfer_reversals import ReversalRow
from projections.unknown_fact import UnknownFact, unknown_sentence

Fold = tuple[object, ...]
"""State that a stream is folded to: its row, or for a transfer `TransferFold`."""
Rows = Mapping[str, Sequence[tuple[object, ...]]]
"""Rows by table, each a NamedTuple of the table's columns."""

F = TypeVar("F", bound=Fact)
S = TypeVar("S", bound=Fold)


class Derived(NamedTuple):
    """A table whose rows are folds of facts. Rebuild and verification handle exactly the tables in
    `DERIVED`."""

    table: str
    columns: tuple[str, ...]
    """Columns that facts determine. Other columns, such as leases, are left alone."""
    key: tuple[str, ...] = ("stream_id",)
    """Primary key."""
    stream: str = "stream_id"
    """Column that names the stream of a row."""
    stream_type: str = "uuid"
    kinds: tuple[str, ...] = ()
    """If set, only rows with these values of `kind` come from facts; other code writes the rest."""


class ReadModel(NamedTuple):
    """Tables and sentences of one aggregate, as functions of its facts. `read_model` makes one."""

    facts: tuple[type[Fact], ...]
    tables: tuple[Derived, ...]
    evolve: Callable[[Fold | None, Fact], Fold]
    rows: Callable[[Fold | None, Fold], Rows]
    sentence: Callable[[Fact, str | None], str]


def read_model(
    facts: UnionType,
    state: type[S],
    evolve: Callable[[S | None, F], S],
    sentence: Callable[[F, str | None], str],
    *tables: Derived,
    rows: Callable[[S | None, S], Rows] | None = None,
) -> ReadModel:
    """Return the read model of the aggregate with this union of facts.

    `rows` returns the changed rows by table. Without it the state is the only row.
    """
    fact_types: tuple[type[F], ...] = get_args(facts)

    def own(fact: Fact) -> F:
        assert isinstance(fact, fact_types), f"{type(fact).__name__} belongs to another aggregate"
        return fact

    def narrowed(fold: Fold | None) -> S | None:
        assert fold is None or isinstance(fold, state), (
            f"{type(fold).__name__} is not the state of these facts"
        )
        return fold

    def changed(before: Fold | None, after: Fold) -> Rows:
        assert isinstance(after, state)
        return {tables[0].table: [after]} if rows is None else rows(narrowed(before), after)

    return ReadModel(
        facts=fact_types,
        tables=tables,
        evolve=lambda fold, fact: evolve(narrowed(fold), own(fact)),
        rows=changed,
        sentence=lambda fact, currency: sentence(own(fact), currency),
    )


READ_MODELS = (
    read_model(
        AnyTransferFact,
        TransferFold,
        transfer_and_reversals.evolve,
        seller_transfer.sentence,
        Derived("seller_transfers", SellerTransferRow._fields, ("transfer_id",), "transfer_id"),
        Derived("transfer_reversals", ReversalRow._fields, ("reversal_id",), "transfer_id"),
        rows=transfer_and_reversals.rows,
    ),
    read_model(
        AnyOrderFact,
        OrderRow,
        orders.evolve,
        order.sentence,
        Derived("orders", OrderRow._fields, ("order_id",)),
    ),
    read_model(
        AnyRefundFact,
        RefundRow,
        refunds.evolve,
        refund.sentence,
        Derived("refunds", RefundRow._fields),
    ),
    read_model(
        AnyDisputeFact,
        DisputeRow,
        disputes.evolve,
        dispute.sentence,
        Derived("disputes", DisputeRow._fields),
    ),
    read_model(
        AnyPayoutFact,
        PayoutRow,
        payouts.evolve,
        payout.sentence,
        Derived("payouts", PayoutRow._fields),
    ),
    read_model(
        AnyPauseFact, PauseRow, pauses.evolve, pause.sentence, Derived("pauses", PauseRow._fields)
    ),
    read_model(
        AnyFindingFact,
        FindingRow,
        findings.evolve,
        finding.sentence,
        Derived("findings", FindingRow._fields),
    ),
    read_model(
        AnyWebhookFact,
        DecisionFold,
        decisions.evolve,
        decision.of_webhook,
        rows=decisions.no_rows,
    ),
    read_model(
        AnySellerAccountFact,
        DecisionFold,
        decisions.evolve,
        decision.of_account,
        rows=decisions.no_rows,
    ),
)
ALARMS = Derived(
    "alarms",
    AlarmRow._fields,
    ("kind", "subject"),
    "subject",
    "text",
    tuple(sorted(RAISED_BY_FACTS)),
)
DERIVED = (*(table for model in READ_MODELS for table in model.tables), ALARMS)
"""All tables that facts alone determine, and that `rebuild` can therefore write again."""

_MODEL_OF: Mapping[type[Fact], ReadModel] = {
    kind: model for model in READ_MODELS for kind in model.facts
}


def read_model_of(fact: Fact) -> ReadModel:
    """Return the read model of a fact's aggregate. Raises TypeError for a fact without one, and
    NewerRelease."""
    model = _MODEL_OF.get(type(fact))
    if isinstance(fact, UnknownFact):
        raise NewerRelease(fact.topic)
    if model is None:
        raise TypeError(
            f"{type(fact).__name__} has no read model; add it to the union of its aggregate's "
            "facts."
        )
    return model


def fold(state: Fold | None, facts: Iterable[Fact]) -> Fold | None:
    """Return the state of one stream's rows after further facts."""
    for fact in facts:
        state = read_model_of(fact).evolve(state, fact)
    return state


def sentence(fact: Fact, currency: str | None = None) -> str:
    """Describe the change by a fact, and the next step. `currency` is used if the fact names none
    of its own."""
    if isinstance(fact, UnknownFact):
        return unknown_sentence(fact)
    return read_model_of(fact).sentence(fact, currency)


class FoldedStream(NamedTuple):
    """Read-model state of one stream, which the event log keeps from a load until the append."""

    state: Fold | None = None
    troubled: bool = False
    """True if an alarm may be open that the next fact clears."""

    def continued(self, facts: Sequence[Fact]) -> "FoldedStream":
        """Fold further facts that are stored already. Returns the state after them."""
        return FoldedStream(fold(self.state, facts), reduce(still_troubled, facts, self.troubled))

    def after(self, facts: Sequence[Fact]) -> tuple["FoldedStream", Rows]:
        """Fold at least one further fact. Returns the state after them, and the rows that changed,
        alarms included."""
        state = fold(self.state, facts)
        rows = read_model_of(facts[0]).rows(self.state, state) if state is not None else {}
        alarms = list(alarm_rows(facts, troubled=self.troubled))
        after = FoldedStream(state, reduce(still_troubled, facts, self.troubled))
        return after, {**rows, ALARMS.table: alarms} if alarms else rows


def rows_of(facts: Sequence[Fact]) -> Rows:
    """Return every row that a whole stream leads to, by table."""
    state = fold(None, facts)
    rows = read_model_of(facts[0]).rows(None, state) if state is not None else {}
    alarms = latest_alarms(facts)
    return {**rows, ALARMS.table: alarms} if alarms else rows
