"""The one place that reads Stripe's prose. What it says is a hint to look at Stripe's books, never a fact.

Stripe gives no code for a transfer that is already reversed, only words. If those words change, this says False,
the books are read anyway, and the worst case is a noisier row.
"""

import re

# Only words that leave "reversed" whole may stand between the two: "already partially reversed" leaves something to
# take back, and "already been refunded, but not reversed" speaks of something else.
_ALREADY_REVERSED = re.compile(
    r"(?<!\bnot )(?<!n't )\balready\s+(?:(?:been|is|was|fully|completely|entirely)\s+){0,3}reversed\b", re.IGNORECASE
)


def says_already_reversed(message: str) -> bool:
    """Whether the text claims that nothing of the transfer is left to reverse."""
    return _ALREADY_REVERSED.search(message) is not None
