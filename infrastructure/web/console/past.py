"""An earlier moment of a transfer: chosen by a step or an instant, and compared with now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from infrastructure.web.console.ledger import Json
from infrastructure.web.console.texts import money, utc
from infrastructure.web.console.visit import Visit
from infrastructure.web.problems import Problem

COMPARED: Final = {
    "status": "Status",
    "amount": "Amount",
    "amount_reversed": "Taken back",
    "reversals": "Reversals",
    "waiting_for": "Waits for",
    "retry_count": "Retries",
    "next_retry_at": "Next step",
    "last_error": "Last error",
    "destination": "Stripe account",
    "stripe_transfer_id": "Stripe transfer",
    "source_transaction": "Charge",
}
"""Members of a transfer that change, with their labels."""


class Moment(NamedTuple):
    """A moment of a transfer with these steps. `query`: its parameters of the API, empty for now;
    `step`: the number of the last step that had happened, from 1."""

    steps: Sequence[Json]
    step: int
    query: dict[str, str]

    @property
    def last(self) -> Json:
        """The last step that had happened."""
        return self.steps[self.step - 1]

    @property
    def instant(self) -> datetime | None:
        """The instant of the moment; None for now."""
        if not self.query:
            return None
        return datetime.fromisoformat(self.query.get("as_of") or self.last["at"])

    def knew(self, entry: Json) -> bool:
        """Return whether a fact had happened."""
        if "as_of_position" in self.query:
            return bool(entry["position"] <= int(self.query["as_of_position"]))
        return not self.query or bool(entry["at"] <= _comparable(self.query["as_of"]))


def moment_of(visit: Visit, entries: Sequence[Json], transfer_id: str) -> Moment:
    """Return the moment that the address names: a step, a position, an instant, or now. Raises
    Problem.

    Steps are the facts of the transfer, and those of its order since.
    """
    first = next(n for n, one in enumerate(entries) if one["stream_id"] == transfer_id)
    steps = [
        one
        for one in entries[first:]
        if one["stream"] != "seller_transfer" or one["stream_id"] == transfer_id
    ]
    now = Moment(steps, len(steps), {})
    if step := visit.given("step"):
        return _at_step(now, step)
    if position := visit.given("as_of_position"):
        return _placed(now._replace(query={"as_of_position": str(_number(position, "position"))}))
    if given := visit.given("as_of"):
        return _placed(now._replace(query={"as_of": _instant(given)}))
    return now


def _at_step(now: Moment, text: str) -> Moment:
    step = _number(text, "step")
    if not 1 <= step <= now.step:
        raise Problem("invalid_request", f"There is no step {step}; the last one is {now.step}.")
    if step == now.step:
        return now
    return now._replace(step=step, query={"as_of_position": str(now.steps[step - 1]["position"])})


def _placed(moment: Moment) -> Moment:
    return moment._replace(step=max(1, sum(moment.knew(one) for one in moment.steps)))


def _number(text: str, kind: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Problem("invalid_request", f"{text[:40]!r} is no {kind}; expected digits.")
    return int(text)


def _instant(text: str) -> str:
    try:
        at = datetime.fromisoformat(text.replace(" ", "T").upper())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise Problem(
            "invalid_request",
            f"{text[:40]!r} is no time; expected one in UTC such as 2026-11-20 12:00:00.",
        ) from None


def _comparable(instant: str) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


# --- the difference to now ------------------------------------------------------------------------


class Change(NamedTuple):
    """A member of a transfer that has changed since the moment."""

    label: str
    then: str
    now: str


def changes(then: Json, now: Json) -> list[Change]:
    """Return the differences between a transfer as it was and as it is."""
    return [
        Change(label, _text(then, name), _text(now, name))
        for name, label in COMPARED.items()
        if then[name] != now[name]
    ]


def _text(transfer: Json, name: str) -> str:
    value, currency = transfer[name], transfer["currency"]
    match name:
        case "amount" | "amount_reversed":
            return money(value, currency)
        case "reversals":
            return ", ".join(f"{money(one['amount'], currency)} {one['status']}" for one in value)
        case "next_retry_at":
            return f"{utc(value)} UTC" if value else ""
        case "status":
            return str(value).replace("_", " ")
    return "" if value is None else str(value)
