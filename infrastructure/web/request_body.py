"""Request bodies, limited in size and time."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from infrastructure.web.problems import Problem

LARGEST_BODY = 1 << 20
"""Bytes: 1 MiB."""
LINGER = 8 * LARGEST_BODY
"""Bytes. A body that is too large is read and dropped up to this size; otherwise a caller that is
still sending would miss the answer."""
BODY_WITHIN_SECONDS = 30.0


async def whole_body(request: Request) -> bytes:
    """Read the raw body. Raises Problem when it is too large, too slow, or incomplete; a body that
    is too large is never held in memory."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > LINGER:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_WITHIN_SECONDS):
            return await _read(request)
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_WITHIN_SECONDS:.0f} s; send it again."
        raise Problem("body_too_slow", detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(
            "incomplete_body", "The connection ended before the body was complete; send it again."
        ) from None


async def _read(request: Request) -> bytes:
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= LARGEST_BODY:
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
