"""The audit trail in sentences: for each fact what happened, and what happens next. For an operator at three in the morning."""

from dataclasses import fields
from datetime import UTC, datetime
from uuid import UUID

from domain.dispute import AnyDisputeFact
from domain.fact import Fact
from domain.finding import AnyFindingFact
from domain.order import AnyOrderFact
from domain.payout import AnyPayoutFact
from domain.refund import AnyRefundFact
from domain.switch import AnySwitchFact
from domain.transfer_facts import AnyTransferFact
from projections import (
    dispute_sentences,
    finding_sentences,
    order_sentences,
    payout_sentences,
    refund_sentences,
    switch_sentences,
    transfer_sentences,
)

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
_OF_EVERY_FACT = frozenset({"originator_id", "originator_version", "originator_topic", "timestamp"})


def sentence(fact: Fact, currency: str | None = None) -> str:
    """What happened, and what happens next. Amounts in minor units, of `currency` where the fact does not name its own."""
    if isinstance(fact, AnyTransferFact):
        return transfer_sentences.sentence(fact, currency)
    if isinstance(fact, AnyOrderFact):
        return order_sentences.sentence(fact, currency)
    if isinstance(fact, AnyRefundFact):
        return refund_sentences.sentence(fact, currency)
    if isinstance(fact, AnyDisputeFact):
        return dispute_sentences.sentence(fact)
    if isinstance(fact, AnyPayoutFact):
        return payout_sentences.sentence(fact)
    if isinstance(fact, AnySwitchFact):
        return switch_sentences.sentence(fact)
    if isinstance(fact, AnyFindingFact):
        return finding_sentences.sentence(fact)
    raise TypeError(f"{type(fact).__name__} has no sentence; add it to the union of its aggregate's facts.")


def payload(fact: Fact) -> dict[str, Json]:
    """A fact's own content as JSON: what every fact has besides is left out."""
    return {f.name: _json(getattr(fact, f.name)) for f in fields(fact) if f.name not in _OF_EVERY_FACT}


def instant(at: datetime) -> str:
    """RFC 3339 in UTC, with Z."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _json(value: object) -> Json:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return instant(value)
        case UUID():
            return str(value)
        case dict():
            return {str(key): _json(member) for key, member in value.items()}
        case list() | tuple():
            return [_json(member) for member in value]
        case _:
            return str(value)
