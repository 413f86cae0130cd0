"""Verdict: the answers of the writers, compared with the stored log."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg.rows import args_row

from infrastructure.postgres.connections import connect_blocking
from infrastructure.postgres.event_store import RecordedFact
from infrastructure.postgres.integrity.hash_chain import GENESIS, breaks
from scripts.torture.answers import Answer, Result
from scripts.torture.followers import token_of

LOG = """
    select originator_id, originator_version, topic, state, notification_id as position, digest
      from ledger_events order by notification_id
"""
ROWS_THAT_DIFFER = """
    with newest as (
        select distinct on (originator_id)
               originator_id, (convert_from(state, 'UTF8')::json ->> 'token')::bigint as token
          from ledger_events where topic = 'torture.with_row'
         order by originator_id, originator_version desc)
    select count(*) from newest n full join payouts p on p.stream_id = n.originator_id
     where p.amount is distinct from n.token
"""


@dataclass(slots=True)
class StoredLog:
    """The log as it is stored in the end: the token at each position, from position 1 on."""

    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    chain_breaks: int = 0
    rows_that_differ: int = 0
    naive_ids: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Verdict:
    """Counts of what must not happen; all are 0 in a sound store."""

    lost: int = 0
    """Acknowledged appends that are not at the position of their answer."""
    doubled: int = 0
    """Facts that are stored twice."""
    reordered: int = 0
    """Appends that come before one that was acknowledged before they were sent."""
    torn: int = 0
    """Appends with an unknown result that are stored in part."""
    refused_but_stored: int = 0
    never_sent: int = 0
    self_conflicts: int = 0
    """Conflicts on a stream with one writer."""
    chain_breaks: int = 0
    rows_that_differ: int = 0
    """Rows without their fact, and facts without their row."""

    @property
    def violations(self) -> int:
        """Return the sum of all counts."""
        return sum(getattr(self, name) for name in self.__slots__)


def stored_log(database_url: str) -> StoredLog:
    """Read the whole log, and recompute its hash chain from its first fact on."""
    log, position, link = StoredLog(), 0, GENESIS
    with connect_blocking(database_url) as connection, connection.transaction():
        connection.execute("set local statement_timeout = 0")
        with connection.cursor("log", row_factory=args_row(RecordedFact), binary=True) as cursor:
            cursor.execute(LOG)
            while some := cursor.fetchmany(5_000):
                log.chain_breaks += len(list(breaks(some, position, link)))
                position, link = some[-1].position, some[-1].digest
                log.tokens.extend(token_of(fact.state) for fact in some)
        log.rows_that_differ = _number(connection, ROWS_THAT_DIFFER)
        log.naive_ids = {row[0] for row in connection.execute("select id from naive_log")}
    return log


def judge(log: StoredLog, answers: Sequence[Answer]) -> Verdict:
    """Compare every answer with the stored log."""
    positions = {token: position for position, token in enumerate(log.tokens, 1)}
    verdict = Verdict(chain_breaks=log.chain_breaks, rows_that_differ=log.rows_that_differ)
    verdict.doubled = len(log.tokens) - len(positions)
    sent = 0
    for answer in answers:
        present = [t for t in range(answer.token, answer.token + answer.facts) if t in positions]
        sent += len(present)
        match Result(answer.result):
            case Result.STORED:
                verdict.lost += not _is_at(log.tokens, answer)
            case Result.UNKNOWN:
                verdict.torn += bool(present) and not _together(positions, answer)
            case Result.SELF_CONFLICT:
                verdict.self_conflicts += 1
                verdict.refused_but_stored += bool(present)
            case _:
                verdict.refused_but_stored += bool(present)
    verdict.never_sent = len(positions) - sent
    verdict.reordered = reordered(answers)
    return verdict


def reordered(answers: Iterable[Answer]) -> int:
    """Count acknowledged appends with a position below that of an append which was acknowledged
    before they were sent."""
    count, acknowledged_first = 0, None
    stored = (answer for answer in answers if answer.result == Result.STORED)
    for answer in sorted(stored, key=lambda one: -one.position):
        count += acknowledged_first is not None and answer.sent > acknowledged_first
        if acknowledged_first is None or answer.answered < acknowledged_first:
            acknowledged_first = answer.answered
    return count


def _is_at(tokens: Sequence[int], answer: Answer) -> bool:
    first = answer.position - answer.facts
    return first >= 0 and list(tokens[first : answer.position]) == list(
        range(answer.token, answer.token + answer.facts)
    )


def _together(positions: dict[int, int], answer: Answer) -> bool:
    first = positions.get(answer.token)
    return first is not None and all(
        positions.get(answer.token + n) == first + n for n in range(answer.facts)
    )


def _number(connection: psycopg.Connection[tuple[object, ...]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(str(row[0]))
