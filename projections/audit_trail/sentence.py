"""The audit trail in sentences: for each fact what happened, and what happens next. For an operator at three in the morning."""

from dataclasses import fields
from datetime import UTC, datetime
from uuid import UUID

from domain.dispute import AnyDisputeFact
from domain.fact import Fact
from domain.finding import AnyFindingFact
from domain.order.facts import AnyOrderFact
from domain.pause import AnyPauseFact
from domain.payout import AnyPayoutFact
from domain.refund.facts import AnyRefundFact
from domain.seller_transfer.facts import AnyTransferFact
from projections.audit_trail import dispute, finding, order, pause, payout, refund, seller_transfer

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
_OF_EVERY_FACT = frozenset({"originator_id", "originator_version", "originator_topic", "timestamp"})


def sentence(fact: Fact, currency: str | None = None) -> str:
    """What happened, and what happens next. Amounts in minor units, of `currency` where the fact does not name its own."""
    if isinstance(fact, AnyTransferFact):
        return seller_transfer.sentence(fact, currency)
    if isinstance(fact, AnyOrderFact):
        return order.sentence(fact, currency)
    if isinstance(fact, AnyRefundFact):
        return refund.sentence(fact, currency)
    if isinstance(fact, AnyDisputeFact):
        return dispute.sentence(fact)
    if isinstance(fact, AnyPayoutFact):
        return payout.sentence(fact)
    if isinstance(fact, AnyPauseFact):
        return pause.sentence(fact)
    if isinstance(fact, AnyFindingFact):
        return finding.sentence(fact)
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
