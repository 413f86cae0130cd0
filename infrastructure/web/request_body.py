"""Request bodies, limited in size and time."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from infrastructure.web.problems import Problem

LARGEST_BODY = 1 << 20
"""Bytes: 1 MiB."""
LINGER = 8 * LARGEST_BODY
"""Bytes. A body that is too large is read and dropped up to this size; otherwise a caller that is
still sending would miss the answer."""
BODY_WITHIN_SECONDS = 30.0
SMALL_BODY = 1 << 16
"""Bytes: 64 KiB. A body up to this size is always read."""
MOST_IN_LARGE_BODIES = 32 << 20
"""Bytes: 32 MiB. Larger bodies that are being read at the same time share this budget of memory,
since senders need no token."""


class BodyBudget:
    """Memory for large bodies of one process."""

    def __init__(self, size: int) -> None:
        self._left = size

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes bytes from the budget; at the end they are given back. The
        function raises Problem when the budget is used up."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self._left:
                raise Problem(
                    "too_many_large_bodies",
                    "Too many large bodies arrive at the same time; send this one again later.",
                    headers={"Connection": "close"},
                )
            self._left -= size
            taken += size

        try:
            yield take
        finally:
            self._left += taken


_budget = BodyBudget(MOST_IN_LARGE_BODIES)


async def whole_body(request: Request) -> bytes:
    """Read the raw body. Raises Problem when it is too large, too slow, or incomplete; a body that
    is too large is never held in memory."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > LINGER:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_WITHIN_SECONDS):
            with _budget.share() as take:
                return await _read(request, take)
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_WITHIN_SECONDS:.0f} s; send it again."
        raise Problem("body_too_slow", detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(
            "incomplete_body", "The connection ended before the body was complete; send it again."
        ) from None


async def _read(request: Request, take: Callable[[int], None]) -> bytes:
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= LARGEST_BODY:
            if size > SMALL_BODY:
                take(len(chunk))
            body += chunk
        elif size > LINGER:
            break
    if size > LARGEST_BODY:
        raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    # the rest of the body may not have been read, so the connection is of no further use
    return Problem(
        "body_too_large",
        f"The body is larger than {LARGEST_BODY} bytes; send less.",
        headers={"Connection": "close"},
    )
