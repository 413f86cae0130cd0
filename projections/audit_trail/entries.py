"""The audit trail: for each fact when, what, who or which webhook, under which key, what Stripe said, and what comes next.

Only some facts name who brought them about. The others of the same command lie beside them: an append gets positions
without holes, and its facts bear one instant.
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

WORKER, API, IMPORT = "worker", "api", "import"


class Entry(NamedTuple):
    """One fact, told. `stream` is its kind: order, refund or seller_transfer."""

    position: int
    stream: str
    stream_id: UUID
    version: int
    at: datetime
    fact: str
    payload: dict[str, Json]
    sentence: str
    by: str
    """`api`, `worker`, `import`, a person, `stripe:<object id>`, or a webhook as `<provider>:<event id>`."""
    key: str | None
    """The idempotency key of the call that the fact begins or ends."""
    request_id: str | None
    """Stripe's own name for the request."""
    error: str | None
    """What Stripe or the network said, as it was said."""


class PositionedFact(NamedTuple):
    """A fact with its position in the whole ledger."""

    position: int
    topic: str
    fact: Fact

    @property
    def stream(self) -> str:
        """Kind of the fact's stream: the middle of its topic `ledger.<stream>.<fact>`."""
        return self.topic.split(".")[1]


def trail(told: Sequence[PositionedFact], webhooks: Mapping[int, str]) -> Iterator[Entry]:
    """The entries of an order's facts, all of its streams together in order of position.

    `webhooks`: by the position of the last fact that it caused, the webhook as `<provider>:<event id>`.
    """
    keys: dict[tuple[UUID, str], str] = {}
    currencies: dict[UUID, str] = {}
    for command in _commands(told):
        by = _author(command, webhooks)
        for one in command:
            fact = one.fact
            if isinstance(fact, facts.CallStarted):
                keys[fact.originator_id, fact.what] = keys[fact.originator_id, ""] = fact.key
            elif isinstance(fact, refund_facts.CallStarted):
                keys[fact.originator_id, state.REFUND] = fact.key
            currency = currencies.setdefault(fact.originator_id, _said(fact, "currency") or "") or None
            yield Entry(
                position=one.position,
                stream=one.stream,
                stream_id=fact.originator_id,
                version=fact.originator_version,
                at=fact.timestamp,
                fact=type(fact).__name__,
                payload=payload(fact),
                sentence=sentence(fact, currency),
                by=_said(fact, "source") or _said(fact, "actor") or by or _usual(fact),
                key=keys.get((fact.originator_id, _operation(fact))),
                request_id=_said(fact, "request_id"),
                error=_error(fact),
            )


def _commands(told: Iterable[PositionedFact]) -> Iterator[list[PositionedFact]]:
    """Facts that were stored together: side by side, at one instant."""
    command: list[PositionedFact] = []
    for one in told:
        last = command[-1] if command else None
        if last is not None and (one.position != last.position + 1 or one.fact.timestamp != last.fact.timestamp):
            yield command
            command = []
        command.append(one)
    if command:
        yield command


def _author(command: Sequence[PositionedFact], webhooks: Mapping[int, str]) -> str | None:
    named = (_said(one.fact, "source") or _said(one.fact, "actor") or webhooks.get(one.position) for one in command)
    return next((author for author in named if author), None)


def _usual(fact: Fact) -> str:
    """Who brings about what nobody has put a name to: calls and their outcomes are the workers', the rest comes by the API."""
    if isinstance(fact, facts.Imported):
        return IMPORT
    by_worker = AnyTransferFact | refund_facts.CallStarted | refund_facts.AttemptDeferred | refund_facts.Submitted
    return WORKER if isinstance(fact, by_worker) else API


def _operation(fact: Fact) -> str:
    """What a fact about a call is about; the latest call where the fact does not say; nothing for other facts."""
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
        case facts.Failed() | facts.AttemptDeferred() | facts.PermanentlyFailed() | facts.EvidenceHeld():
            return fact.detail
        case refund_facts.AttemptDeferred():
            return fact.detail
        case _:
            return None


def _said(fact: Fact, member: str) -> str | None:
    value = getattr(fact, member, None)
    return value if isinstance(value, str) else None
