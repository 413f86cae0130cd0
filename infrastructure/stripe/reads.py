"""Reading Stripe's books: single objects and whole lists. What cannot be read completely is a `LookUpFailed`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from domain.provider_call.outcome import Failure, LookUpFailed, NotAtStripe, NotExecuted, Rejected, Unknown, signal_of
from infrastructure.stripe.outcomes import outcome_of
from infrastructure.stripe.response_checks import field

PAGE = 100
"""Stripe's largest page."""
MOST_PAGES = 1_000

Cursor = dict[str, str | int]
"""The part of a list's parameters that differs from page to page."""


async def ask(get: Awaitable[object]) -> Mapping[str, object] | Failure:
    """The JSON object that a GET answered, or what came instead of it."""
    try:
        answer = await get
    except Exception as error:
        return outcome_of(error)
    shown = getattr(getattr(answer, "last_response", answer), "data", None)
    return shown if isinstance(shown, Mapping) else Unknown("unreadable", "Stripe's answer is no JSON object.", 200)


async def read(get: Awaitable[object]) -> Mapping[str, object]:
    """The JSON object that a GET answered. Raises NotAtStripe for 404 `resource_missing`, else LookUpFailed."""
    shown = await ask(get)
    if isinstance(shown, Mapping):
        return shown
    raise failure_of(shown)


def failure_of(outcome: Failure) -> NotAtStripe | LookUpFailed:
    """The error a look-up ends with when it got this outcome instead of an object."""
    match outcome:
        case Rejected(status=404, code="resource_missing"):
            return NotAtStripe(outcome.message)
        case Rejected():
            return LookUpFailed(f"Stripe refused the look-up with {outcome.status}: {outcome.message}")
        case NotExecuted() | Unknown():
            return LookUpFailed(f"Stripe could not be asked ({outcome.why}): {outcome.message}", signal_of(outcome))


async def every_item(page: Callable[[Cursor], Awaitable[object]]) -> AsyncIterator[Mapping[str, object]]:
    """The items of all pages of a list, newest first. Raises LookUpFailed unless the last page says it is the last."""
    cursor: Cursor = {"limit": PAGE}
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        shown = await read(page(cursor))
        items = items_of(shown)
        for item in items:
            yield item
        if not field(shown, "has_more", bool):
            return
        last = field(items[-1], "id", str) if items else ""
        # A list that goes round in circles would otherwise be read until the lease runs out.
        if not last or last in seen:
            raise LookUpFailed(f"Stripe's list says it has more after {last or 'an empty page'}, but does not go on.")
        seen.add(last)
        cursor = {"limit": PAGE, "starting_after": last}
    raise LookUpFailed(f"Stripe's list did not end after {MOST_PAGES} pages of {PAGE}.")


def items_of(shown: Mapping[str, object]) -> list[Mapping[str, object]]:
    """What a list holds. Raises LookUpFailed when it is none."""
    items = shown.get("data")
    if shown.get("object") != "list" or not isinstance(items, list):
        raise LookUpFailed(f"Stripe showed {shown.get('object')!r} where a list was expected.")
    if not all(isinstance(item, Mapping) for item in items):
        raise LookUpFailed("Stripe's list contains something that is no object.")
    return items
