"""Query parameters for an earlier moment."""

from infrastructure.postgres.read_side.as_of import Moment
from infrastructure.web.operation import ApiCall
from infrastructure.web.problems import Problem
from infrastructure.web.requests import PastQuery


def asks_for_the_past(query: PastQuery) -> bool:
    """Return whether the query names a moment; without one it means now."""
    return query.as_of is not None or query.as_of_position is not None


async def moment_of(call: ApiCall[None, PastQuery]) -> Moment:
    """Return the named moment. Raises Problem when it is named twice, NotReached when it is in the
    future."""
    if call.query.as_of is not None and call.query.as_of_position is not None:
        detail = (
            "as_of and as_of_position are both given, and may name different moments; send one "
            "of them."
        )
        raise Problem("instant_and_position", detail)
    return await call.past.moment(call.query.as_of, call.query.as_of_position)


def before_its_time(kind: str, name: str, query: PastQuery) -> Problem:
    """Build the problem that the object did not exist at that moment."""
    when = f"position {query.as_of_position}" if query.as_of is None else query.as_of.isoformat()
    return Problem(
        "not_found",
        f"There was no {kind} {name!r} at {when}; check the id, or ask for a later moment.",
    )
