"""The stream that tells open pages of the console about news: the position of the newest fact."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import psycopg
from starlette.responses import Response, StreamingResponse

from infrastructure.fact_news import FactNews
from infrastructure.web.console.visit import Visit
from infrastructure.web.endpoints.facts import (
    EVENT_STREAM,
    HEARTBEAT_SECONDS,
    STREAM_SECONDS,
    is_set,
    require_room,
)

BETWEEN_EVENTS_SECONDS: Final = 2.0
"""Least time between two events of one stream: each lets the page load itself again."""
HEADERS: Final = {"X-Accel-Buffering": "no"}
"""Lets nginx pass on each event at once."""


async def stream_news(visit: Visit) -> Response:
    """Answer with the newest position now, after each append, and as a sign of life. An idle stream
    makes no query: appends of all processes wake it."""
    if visit.request.method == "HEAD":
        return Response(headers=HEADERS, media_type=EVENT_STREAM)
    news = visit.backend.service.news
    require_room(news)
    return StreamingResponse(_events(visit, news), headers=HEADERS, media_type=EVENT_STREAM)


async def _events(visit: Visit, news: FactNews) -> AsyncIterator[bytes]:
    """Yield positions. An end lets the page connect again: when the process stops, when the
    database does not answer, and so often that a session that has ended is noticed."""
    now = asyncio.get_running_loop().time
    end = now() + STREAM_SECONDS
    with news.reader(), suppress(psycopg.OperationalError):
        yield b"retry: 2000\n\n"
        while not news.ended and now() < end:
            event = news.next  # before the read, so that no append comes in between unseen
            position = b"data: %d\n\n" % await visit.backend.history.head()
            yield position
            await _pause(news)
            while not await is_set(event, HEARTBEAT_SECONDS) and now() < end:
                yield position


async def _pause(news: FactNews) -> None:
    """Wait between two events, or until the process stops."""
    with suppress(TimeoutError):
        async with asyncio.timeout(BETWEEN_EVENTS_SECONDS):
            while not news.ended:
                await news.next.wait()
