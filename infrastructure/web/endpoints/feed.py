"""All facts in order, for the marketplace's own systems."""

from infrastructure.web.operation import Call, Reply
from infrastructure.web.requests import FeedQuery
from infrastructure.web.responses import Feed, FeedEntry
from projections.audit_trail.entries import Told
from projections.audit_trail.sentence import payload


async def feed_facts(call: Call[None, FeedQuery]) -> Reply:
    told = await call.backend.history.feed(call.query.after, call.query.limit)
    return Reply(200, Feed([_entry(one) for one in told], told[-1].position if told else call.query.after))


def _entry(told: Told) -> FeedEntry:
    position, topic, fact = told
    stream = topic.split(".")[1]  # ledger.<stream>.<fact>
    return FeedEntry(
        position,
        stream,
        fact.originator_id,
        fact.originator_version,
        fact.timestamp,
        type(fact).__name__,
        payload(fact),
    )
