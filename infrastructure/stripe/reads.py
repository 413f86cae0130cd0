"""Reads of single objects and whole lists at Stripe. An incomplete read is a `LookUpFailed`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from domain.provider_call.outcome import (
    Failure,
    LookUpFailed,
    NotAtStripe,
    NotExecuted,
    Rejected,
    Unknown,
    signal_of,
)
from infrastructure.stripe.outcomes import outcome_of
from infrastructure.stripe.response_checks import field

PAGE = 100
"""Stripe's largest page."""
MOST_PAGES = 1_000

Cursor = dict[str, str | int]
"""The part of a list's parameters that differs from page to page."""


async def ask(get: Awaitable[object]) -> Mapping[str, object] | Failure:
    """Return the JSON object of a GET, or its failure."""
    try:
        answer = await get
    except Exception as error:
        return outcome_of(error)
    resource = getattr(getattr(answer, "last_response", answer), "data", None)
    return (
        resource
        if isinstance(resource, Mapping)
        else Unknown("unreadable", "Stripe's answer is no JSON object.", 200)
    )


async def read(get: Awaitable[object]) -> Mapping[str, object]:
    """Return the JSON object of a GET. Raises NotAtStripe for 404 `resource_missing`, LookUpFailed
    for other failures."""
    resource = await ask(get)
    if isinstance(resource, Mapping):
        return resource
    raise failure_of(resource)


def failure_of(outcome: Failure) -> NotAtStripe | LookUpFailed:
    """Return the error of a look-up that failed with this outcome."""
    match outcome:
        case Rejected(status=404, code="resource_missing"):
            return NotAtStripe(outcome.message)
        case Rejected():
            return LookUpFailed(
                f"Stripe refused the look-up with {outcome.status}: {outcome.message}"
            )
        case NotExecuted() | Unknown():
            return LookUpFailed(
                f"Stripe could not be asked ({outcome.why}): {outcome.message}", signal_of(outcome)
            )


async def every_item(
    page: Callable[[Cursor], Awaitable[object]],
) -> AsyncIterator[Mapping[str, object]]:
    """Yield the items of all pages of a list, newest first. Raises LookUpFailed unless the list
    ends."""
    cursor: Cursor = {"limit": PAGE}
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        resource = await read(page(cursor))
        items = items_of(resource)
        for item in items:
            yield item
        if not field(resource, "has_more", bool):
            return
        last = field(items[-1], "id", str) if items else ""
        # Without this check a list that repeats its pages would be read until the lease runs out.
        if not last or last in seen:
            raise LookUpFailed(
                f"Stripe's list has more pages after {last or 'an empty page'}, but the next "
                "page would repeat an earlier one."
            )
        seen.add(last)
        cursor = {"limit": PAGE, "starting_after": last}
    raise LookUpFailed(f"Stripe's list did not end after {MOST_PAGES} pages of {PAGE}.")


def items_of(resource: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the items of a list. Raises LookUpFailed for other objects."""
    items = resource.get("data")
    if resource.get("object") != "list" or not isinstance(items, list):
        raise LookUpFailed(
            f"Stripe answered with {resource.get('object')!r}, but a list was expected."
        )
    if not all(isinstance(item, Mapping) for item in items):
        raise LookUpFailed("Stripe's list contains an item that is no JSON object.")
    return items
