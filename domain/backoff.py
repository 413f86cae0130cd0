"""Delay before the next attempt: exponential, with a maximum."""

from datetime import timedelta

_ENOUGH = 62  # 2^62 microseconds exceed every maximum; a larger shift would only overflow timedelta


def next_delay(base: timedelta, maximum: timedelta, retry_count: int) -> timedelta:
    """Return `min(base * 2^retry_count, maximum)`. The count is that before the increment: the
    first delay is `base`.

    Raises ValueError for a negative count.
    """
    if retry_count < 0:
        raise ValueError(f"retry_count is {retry_count}, but a count starts at 0.")
    microseconds = (base // timedelta(microseconds=1)) << min(retry_count, _ENOUGH)
    return min(
        maximum, timedelta(microseconds=min(microseconds, maximum // timedelta(microseconds=1)))
    )
