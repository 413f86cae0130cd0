"""Lines of a story: one for each event, with its virtual time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from infrastructure.postgres.event_store import RecordedFact
from infrastructure.simulation.virtual_time import BEGINNING

Json = dict[str, Any]
BEGAN = BEGINNING.timestamp()
HIDDEN = (
    "originator_id",
    "originator_version",
    "timestamp",
    "originator_topic",
    "transfer_id",
    "order_id",
    "seller_id",
    "idempotency_key",
    "body",
    "transfer_group",
    "currency",
    "actor",
)
"""Members of facts that a line does not show."""


def instant(at: float) -> str:
    """Return an instant as day and time of day."""
    days, rest = divmod(at - BEGAN, 86_400)
    return f"day {int(days) + 1} {datetime.fromtimestamp(rest, UTC):%H:%M:%S.%f}"[:-3]


def plain(value: Any) -> Any:
    """Return a stored value without the marks of its type."""
    if isinstance(value, dict):
        if value.keys() == {"_type_", "_data_"}:
            data = value["_data_"]
            return str(UUID(data)) if value["_type_"] == "uuid_hex" else plain(data)
        return {name: plain(member) for name, member in value.items()}
    return [plain(member) for member in value] if isinstance(value, list) else value


def members(recorded: RecordedFact) -> Json:
    """Return the members of a stored fact."""
    decoded: Json = plain(orjson.loads(recorded.state))
    return decoded


class Labels:
    """Names of streams for a reader."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, stream: str, fact: Mapping[str, Any], topic: str) -> str:
        """Return the name of a fact's stream. The opening fact tells it."""
        known = self._known.get(stream)
        if known is None:
            kind = topic.split(".")[1]
            names = [
                str(fact[name])
                for name in ("order_id", "seller_id", "refund_id", "dispute_id", "scope")
                if name in fact
            ]
            if fact.get("cause", "sale") != "sale":
                names.append(str(fact["cause"]))
            known = self._known[stream] = f"{kind} {'/'.join(names) or stream[:8]}"
        return known


def sentence(label: str, topic: str, fact: Mapping[str, Any]) -> str:
    """Return the line of a fact."""
    shown = (
        f"{name}={value}"
        for name, value in fact.items()
        if name not in HIDDEN and value not in (None, "", [], {}) and len(str(value)) < 60
    )
    return f"{label}: {topic.rpartition('.')[2]} {' '.join(shown)}".rstrip()
