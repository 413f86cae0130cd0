"""The feed of all facts: page by page, with a wait for the next fact, or as a stream of server-sent
events; and the schemas of the facts."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson
import psycopg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from domain import money
from infrastructure.fact_news import FactNews
from infrastructure.web.operation import ApiCall, Backend, Reply
from infrastructure.web.problems import Problem
from infrastructure.web.requests import FeedQuery, Parameters
from infrastructure.web.responses import Feed, FeedEntry
from projections.audit_trail.entries import PositionedFact
from projections.audit_trail.payload import payload
from projections.fact_schemas import fact_schemas
from projections.unknown_fact import fact_name

EVENT_STREAM, LAST_EVENT_ID = "text/event-stream", "Last-Event-ID"
POSITION_PATTERN = r"^[0-9]{1,16}$"
HEARTBEAT_SECONDS = 15.0
"""Longest silence of a stream; proxies cut connections that are silent for longer."""
STREAM_SECONDS = 900.0
"""Longest life of one stream. The client then connects again, also when the process cannot tell it
of its end."""
BETWEEN_PAGES_SECONDS = 0.05
"""Least time between two reads of one stream: a busy ledger appends hundreds of facts per
second."""
MOST_FOLLOWERS = 200
"""Limit of calls of one process that wait for facts: each append makes each of them read."""


@dataclass(frozen=True, slots=True)
class FactSchemas:
    """A JSON schema (2020-12) of the payload of each fact, by topic. Members and facts are only
    added, never removed, renamed or given another type."""

    schemas: Mapping[str, Mapping[str, object]]


SCHEMAS = FactSchemas(fact_schemas())

FeedCall = ApiCall[None, FeedQuery]


async def show_fact_schemas(call: ApiCall[None, Parameters]) -> Reply:
    return Reply(200, SCHEMAS)


async def feed_facts(call: FeedCall) -> Reply | Response:
    after = _position(call.request, call.query.after)
    if call.request.method == "GET" and EVENT_STREAM in call.request.headers.get("accept", ""):
        return await _stream(call, after)
    facts = await _page(call.backend, after, call.query.limit)
    if not facts and call.query.wait:
        require_room(call.service.news)
        with call.service.news.reader():
            facts = await _awaited(call, after)
    return Reply(200, Feed([entry_of(one) for one in facts], _last(facts, after)))


def _position(request: Request, after: int) -> int:
    """Return the position after which the caller continues: a browser that connects again sends
    that of the last event, and the address it was given at first."""
    given = request.headers.get(LAST_EVENT_ID)
    if given is None:
        return after
    if not re.fullmatch(POSITION_PATTERN, given) or int(given) > money.LARGEST:
        raise Problem(
            "invalid_request",
            f"The header {LAST_EVENT_ID} is {given[:40]!r}; expected the position of a fact.",
        )
    return int(given)


async def _page(backend: Backend, after: int, limit: int) -> Sequence[PositionedFact]:
    return await backend.history.feed(after, limit)


def _last(facts: Sequence[PositionedFact], after: int) -> int:
    return facts[-1].position if facts else after


def entry_of(one: PositionedFact) -> FeedEntry:
    """Return a fact as callers see it."""
    fact = one.fact
    return FeedEntry(
        one.position,
        one.topic,
        one.stream,
        fact.originator_id,
        fact.originator_version,
        fact.timestamp,
        fact_name(fact),
        payload(fact),
    )


# --- waiting --------------------------------------------------------------------------------------


def require_room(news: FactNews) -> None:
    """Raise Problem if too many calls wait already."""
    if news.readers >= MOST_FOLLOWERS:
        detail = (
            f"{MOST_FOLLOWERS} calls of this process wait for facts already; ask without wait, or "
            "try again in a moment."
        )
        raise Problem("too_many_followers", detail)


async def _awaited(call: FeedCall, after: int) -> Sequence[PositionedFact]:
    """Return the first facts after a position, as soon as there are any; none after `wait` seconds,
    when the caller has hung up, or when the process ends."""
    news, leaving = call.service.news, asyncio.create_task(_hung_up(call.request))
    deadline = asyncio.get_running_loop().time() + call.query.wait
    try:
        while True:
            event = news.next  # before the read, so that no append comes in between unseen
            facts = await _page(call.backend, after, call.query.limit)
            left = deadline - asyncio.get_running_loop().time()
            if facts or news.ended or left <= 0 or leaving.done():
                return facts
            waiting = asyncio.create_task(event.wait())
            await asyncio.wait(
                {waiting, leaving}, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            waiting.cancel()
    finally:
        leaving.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


# --- streaming ------------------------------------------------------------------------------------


async def _stream(call: FeedCall, after: int) -> Response:
    """Answer with a stream. A database that does not answer is a problem now; later it ends the
    stream, and the client connects again."""
    event = call.service.news.next
    first = await _page(call.backend, after, call.query.limit)
    require_room(call.service.news)
    return StreamingResponse(_events(call, after, first, event), media_type=EVENT_STREAM)


async def _events(
    call: FeedCall, after: int, facts: Sequence[PositionedFact], event: asyncio.Event
) -> AsyncIterator[bytes]:
    news, now = call.service.news, asyncio.get_running_loop().time
    end, limit = now() + STREAM_SECONDS, call.query.limit
    with news.reader(), suppress(psycopg.OperationalError):
        yield b"retry: 2000\n\n"
        while True:
            for one in facts:
                yield _event(one)
            after, full = _last(facts, after), len(facts) == limit
            if news.ended or now() >= end:
                return
            if not full and not await is_set(event, min(HEARTBEAT_SECONDS, end - now())):
                yield b": heartbeat\n\n"
                facts = ()
                continue
            await asyncio.sleep(BETWEEN_PAGES_SECONDS)
            event = news.next
            facts = await _page(call.backend, after, limit)


def _event(one: PositionedFact) -> bytes:
    data = orjson.dumps(entry_of(one), option=orjson.OPT_UTC_Z)
    return b"id: %d\ndata: %b\n\n" % (one.position, data)


async def is_set(event: asyncio.Event, within: float) -> bool:
    """Wait for an event, at most so many seconds; return whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()
