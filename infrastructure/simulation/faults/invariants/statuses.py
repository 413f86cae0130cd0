"""Life cycle of a transfer, as section 2 of the design gives it, and the statuses to which facts
lead."""

from collections.abc import Mapping
from typing import Any

UNSENT = ("pending", "failed")
UNSETTLED = (*UNSENT, "reversal_pending")
FINAL = ("reversed", "permanently_failed", "cancelled")
FOLLOWERS: Mapping[str, tuple[str, ...]] = {
    "pending": ("completed", "failed", "cancelled"),
    "failed": ("completed", "permanently_failed", "cancelled"),
    "completed": ("reversal_pending",),
    "reversal_pending": ("reversed", "permanently_failed", "partially_reversed"),
    "partially_reversed": ("reversal_pending",),
    "reversed": (),
    "permanently_failed": (),
    "cancelled": (),
}
REOPENED = {"permanently_failed": ("failed", "reversal_pending")}
"""Followers that need an actor and a reason."""

LEADS_TO: Mapping[str, str] = {
    "created": "pending",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "reversal_requested": "reversal_pending",
    "partially_reversed": "partially_reversed",
    "reversed": "reversed",
    "permanently_failed": "permanently_failed",
}
"""Status after a fact about a transfer, for facts that always lead to the same one."""


def status_after(name: str, fact: Mapping[str, Any], before: str) -> str:
    """Return the status of a transfer after a fact; `name` is its topic without the prefix."""
    if name == "imported":
        return str(fact["status"])
    if name in ("reopened", "resolved"):
        return str(fact.get("to") or before)
    if name == "reversal_withdrawn" and fact["in_flight"]:
        return "partially_reversed"
    return LEADS_TO.get(name, before)


def is_allowed(before: str, after: str, name: str, fact: Mapping[str, Any]) -> bool:
    """Return whether a fact may change the status so."""
    if before == after or after in FOLLOWERS.get(before, ()):
        return True
    named = bool(fact.get("actor")) and bool(fact.get("reason"))
    return name == "reopened" and named and after in REOPENED.get(before, ())
