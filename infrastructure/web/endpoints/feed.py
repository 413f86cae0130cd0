"""Endpoint of all facts in order, for the marketplace's own systems."""

from infrastructure.web.operation import Call, Reply
from infrastructure.web.requests import FeedQuery
from infrastructure.web.responses import Feed, FeedEntry
from projections.audit_trail.entries import PositionedFact
from projections.audit_trail.payload import payload


async def feed_facts(call: Call[None, FeedQuery]) -> Reply:
    told = await call.backend.history.feed(call.query.after, call.query.limit)
    return Reply(200, Feed([_entry(one) for one in told], told[-1].position if told else call.query.after))


def _entry(told: PositionedFact) -> FeedEntry:
    fact = told.fact
    return FeedEntry(
        told.position,
        told.stream,
        fact.originator_id,
        fact.originator_version,
        fact.timestamp,
        type(fact).__name__,
        payload(fact),
    )
