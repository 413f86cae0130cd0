"""Manners of the simulated Stripe: those of a live account, or the kindness that a test asks for by
name.

Amounts are in minor units.
"""

from typing import Literal, NamedTuple

DAY = 86_400
PLENTY = 10**13
"""Platform balance of kind manners: so much that only a drained balance causes a balance error."""


class Manners(NamedTuple):
    """Manners of a platform's account at Stripe, besides its rules."""

    funds: int
    """Available platform balance of a currency at its first use."""
    pending_days: float
    """Days from a charge or a reversal until its money is available."""
    automatic_payouts: bool
    """True if available money of the platform and of the sellers goes to their banks once a day,
    counted from the start."""
    notice: bool
    """True if answers in test mode carry a Stripe-Notice header."""


LIVE = Manners(funds=0, pending_days=2, automatic_payouts=True, notice=True)
"""A new platform account: nothing is there but the money of its charges."""
KIND = Manners(funds=PLENTY, pending_days=0, automatic_payouts=False, notice=False)
"""A platform that never lacks money: for tests that pay sellers without a charge."""

MannersName = Literal["live", "kind"]
BY_NAME: dict[MannersName, Manners] = {"live": LIVE, "kind": KIND}


def manners_named(name: str, pending_days: float | None = None) -> Manners:
    """Return the manners of this name, with other days until money is available if given. Raises
    ValueError for an unknown name or a negative number."""
    found = next((manners for known, manners in BY_NAME.items() if known == name), None)
    if found is None or (pending_days or 0) < 0:
        raise ValueError(
            f"manners are {name!r} with {pending_days} pending days; choose one of "
            f"{', '.join(BY_NAME)}, and no negative number of days"
        )
    return found if pending_days is None else found._replace(pending_days=pending_days)
