"""Instants until which providers want evidence about a dispute. A member of another form is none:
a deadline that cannot be read must not stop the report."""

from collections.abc import Mapping
from datetime import UTC, datetime

LAST = 253_402_300_799
"""The last second of the year 9999."""


def stripe_deadline(evidence_details: object) -> datetime | None:
    """Return `evidence_details.due_by` of a dispute at Stripe: seconds since 1970, null or
    missing."""
    due_by = evidence_details.get("due_by") if isinstance(evidence_details, Mapping) else None
    if not isinstance(due_by, int) or isinstance(due_by, bool) or not 0 < due_by <= LAST:
        return None
    return datetime.fromtimestamp(due_by, UTC)


def psp_deadline(challenge_required_by: str | None) -> datetime | None:
    """Return `challenge_required_by` of a dispute at the PSP: RFC 3339, in UTC if it names no
    zone."""
    try:
        instant = datetime.fromisoformat(challenge_required_by or "")
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
