"""Which moment of the past a caller asks about."""

from infrastructure.postgres.as_of import Moment
from infrastructure.web.operation import Call
from infrastructure.web.problems import Problem
from infrastructure.web.requests import PastQuery


def asks_for_the_past(query: PastQuery) -> bool:
    """Whether a moment is named; without one, now is meant."""
    return query.as_of is not None or query.as_of_position is not None


async def moment_of(call: Call[None, PastQuery]) -> Moment:
    """The moment that is named. Raises Problem when it is named twice, NotReached when it is still to come."""
    if call.query.as_of is not None and call.query.as_of_position is not None:
        detail = "as_of and as_of_position are both given, and may mean different moments; send one of them."
        raise Problem("instant_and_position", detail)
    return await call.past.moment(call.query.as_of, call.query.as_of_position)


def before_its_time(kind: str, name: str, query: PastQuery) -> Problem:
    """There was no such thing yet, or there never is."""
    when = f"position {query.as_of_position}" if query.as_of is None else query.as_of.isoformat()
    return Problem("not_found", f"There was no {kind} {name!r} at {when}; check the id, or ask for a later moment.")
