"""Entries of the audit trail: for each fact its time, sentence, author, idempotency key and
provider error.

Only some facts name their author. The other facts of the same command are adjacent: an append gets
consecutive positions, and its facts have the same time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.fact import Fact
from domain.provider_call.operation import TRANSFER
from domain.refund import facts as refund_facts
from domain.refund import state
from domain.seller_transfer import facts
from domain.seller_transfer.facts import AnyTransferFact
from projections.audit_trail.payload import Json, payload
from projections.registry import sentence
from projections.unknown_fact import UnknownFact, fact_name

WORKER, API, IMPORT, UNKNOWN = "worker", "api", "import", "unknown"


class Entry(NamedTuple):
    """One fact in the audit trail. `stream` is the kind of its stream: order, refund or
    seller_transfer."""

    position: int
    stream: str
    stream_id: UUID
    version: int
    at: datetime
    fact: str
    payload: dict[str, Json]
    sentence: str
    by: str
    """Author: `api`, `worker`, `import`, `unknown`, a person, `stripe:<object id>`, or a webhook as
    `<provider>:<event id>`."""
    key: str | None
    """Idempotency key of the call that the fact begins or ends."""
    request_id: str | None
    """Stripe's id of the request."""
    error: str | None
    """Error text of Stripe or the network, verbatim."""


class PositionedFact(NamedTuple):
    """A fact with its position in the whole ledger."""

    position: int
    topic: str
    fact: Fact

    @property
    def stream(self) -> str:
        """Kind of the fact's stream: the middle of its topic `ledger.<stream>.<fact>`."""
        return self.topic.split(".")[1]


def trail(facts_of_order: Sequence[PositionedFact], webhooks: Mapping[int, str]) -> Iterator[Entry]:
    """Yield the entries of the facts of an order and its refunds and transfers, in order of
    position.

    `webhooks`: webhooks as `<provider>:<event id>`, by the position of the last fact that each
    caused.
    """
    keys: dict[tuple[UUID, str], str] = {}
    currencies: dict[UUID, str] = {}
    for command in _commands(facts_of_order):
        by = _author(command, webhooks)
        for one in command:
            fact = one.fact
            if isinstance(fact, facts.CallStarted):
                keys[fact.originator_id, fact.what] = keys[fact.originator_id, ""] = fact.key
            elif isinstance(fact, refund_facts.CallStarted):
                keys[fact.originator_id, state.REFUND] = fact.key
            currency = (
                currencies.setdefault(fact.originator_id, _text_member(fact, "currency") or "")
                or None
            )
            yield Entry(
                position=one.position,
                stream=one.stream,
                stream_id=fact.originator_id,
                version=fact.originator_version,
                at=fact.timestamp,
                fact=fact_name(fact),
                payload=payload(fact),
                sentence=sentence(fact, currency),
                by=_named_author(fact) or by or _default_author(fact),
                key=keys.get((fact.originator_id, _operation(fact))),
                request_id=_text_member(fact, "request_id"),
                error=_error(fact),
            )


def _commands(facts_of_order: Iterable[PositionedFact]) -> Iterator[list[PositionedFact]]:
    """Group the facts that were stored together: consecutive positions, one time."""
    command: list[PositionedFact] = []
    for one in facts_of_order:
        last = command[-1] if command else None
        if last is not None and (
            one.position != last.position + 1 or one.fact.timestamp != last.fact.timestamp
        ):
            yield command
            command = []
        command.append(one)
    if command:
        yield command


def _author(command: Sequence[PositionedFact], webhooks: Mapping[int, str]) -> str | None:
    named = (_named_author(one.fact) or webhooks.get(one.position) for one in command)
    return next((author for author in named if author), None)


def _named_author(fact: Fact) -> str | None:
    return _text_member(fact, "source") or _text_member(fact, "actor")


def _default_author(fact: Fact) -> str:
    """Return the author of a fact that names none: the worker for calls and their outcomes, else
    the API."""
    if isinstance(fact, facts.Imported):
        return IMPORT
    if isinstance(fact, UnknownFact):
        return UNKNOWN
    of_worker = (
        AnyTransferFact
        | refund_facts.CallStarted
        | refund_facts.AttemptDeferred
        | refund_facts.Submitted
    )
    return WORKER if isinstance(fact, of_worker) else API


def _operation(fact: Fact) -> str:
    """Return the operation of a fact about a call; an empty name, that of the latest call, if the
    fact does not name one."""
    match fact:
        case facts.CallStarted() | facts.AttemptDeferred() | facts.EvidenceHeld():
            return fact.what
        case refund_facts.CallStarted() | refund_facts.AttemptDeferred() | refund_facts.Submitted():
            return state.REFUND
        case facts.Completed() | facts.Failed():
            return TRANSFER
        case facts.PartiallyReversed() | facts.Reversed():
            return fact.reversal_id
        case facts.PermanentlyFailed():
            return ""
        case _:
            return "no call"


def _error(fact: Fact) -> str | None:
    match fact:
        case (
            facts.Failed()
            | facts.AttemptDeferred()
            | facts.PermanentlyFailed()
            | facts.EvidenceHeld()
        ):
            return fact.detail
        case refund_facts.AttemptDeferred():
            return fact.detail
        case _:
            return None


def _text_member(fact: Fact, member: str) -> str | None:
    value = getattr(fact, member, None)
    return value if isinstance(value, str) else None
