"""Expected outcomes of the answers in the response matrix: facts, row, keys, and end."""

from enum import Enum, auto
from typing import NamedTuple

from tests.support.service import CREATE


class Due(Enum):
    """The due instant of the next call, in the row."""

    BACKOFF = auto()
    HINDERED = auto()
    """Soon: Stripe did not begin."""
    AT_ONCE = auto()
    """By itself, without a wait."""
    FUNDS = auto()
    """After FUNDS_RETRY_INTERVAL."""
    NEVER = auto()
    """Not by itself."""


class ExpectedOutcome(NamedTuple):
    """The expected effects of one answer."""

    facts: tuple[str, ...]
    """Appended by the answer."""
    why: str
    """The word that the last of them carries: its `why`, `reason` or `settled_by`."""
    status: str | None
    """Of the row, after those facts; None leaves it as it was."""
    epochs: tuple[int, ...]
    """Of the keys of all calls, the one answered and those after it."""
    retries: int = 0
    """An attempt was consumed, or was not."""
    due: Due = Due.NEVER
    waiting_for: str | None = None
    open: bool = False
    """Money may have moved without our knowing."""
    alarm: str | None = None
    prefix: str | None = ""
    """The text before Stripe's message in `last_error`; None: there is no error."""
    then: tuple[str, ...] = ()
    """Facts that follow once the cause is gone."""
    ends: str | None = None
    """The status in the end; None: paid, or all of it taken back."""
    identified: bool = True
    """The fact names the request, if its answer arrived; not where the books decided, nor where the
    SDK drops the headers."""


PAID, TAKEN = ("CallStarted", "Completed"), ("CallStarted", "Reversed")


def rejected(*, stored: bool, cured: bool = True) -> ExpectedOutcome:
    """Definitely not paid: one attempt is used. Without a cure the next call is refused as well."""
    then, ends = (PAID, None) if cured else (("CallStarted", "Failed"), "failed")
    epochs = (1, 1 + stored)
    return ExpectedOutcome(
        ("Failed",), "rejected", "failed", epochs, retries=1, due=Due.BACKOFF, then=then, ends=ends
    )


def sent_without_source() -> ExpectedOutcome:
    """Refused as the charge is used up: paid from the platform's balance, under the next key."""
    return ExpectedOutcome(
        ("Failed", "SourceDecided"), "", "failed", (1, 2),
        due=Due.AT_ONCE, then=PAID, identified=False,
    )  # fmt: skip


def source_refused() -> ExpectedOutcome:
    """Refused as the charge has another currency: a person decides, and a retry looks first and
    sends without it."""
    return ExpectedOutcome(
        ("Failed", "SourceDecided", "PermanentlyFailed"), "source_currency", "permanently_failed",
        (1, 2), alarm="permanently_failed", prefix="source_currency: ", identified=False,
        then=("AttemptDeferred", "AttemptDeferred", *PAID),
    )  # fmt: skip


def unfunded(*, stored: bool = True) -> ExpectedOutcome:
    """Refused as the platform's balance is too low: no attempt is used."""
    return ExpectedOutcome(
        ("Failed",), "awaiting_funds", "failed", (1, 1 + stored),
        due=Due.FUNDS, waiting_for="funds", alarm="awaiting_funds", then=PAID,
    )  # fmt: skip


def on_hold(*, stored: bool = True) -> ExpectedOutcome:
    """Refused as the seller's account cannot take money: nothing is due until it can, or until a
    person retries."""
    return ExpectedOutcome(
        ("Failed",),
        "on_hold",
        "failed",
        (1, 1 + stored),
        waiting_for="account",
        alarm="on_hold",
        then=PAID,
    )


def uncollectable(*, stored: bool = True) -> ExpectedOutcome:
    """Refused since the seller's balance is too low, as Stripe says."""
    return ExpectedOutcome(
        ("AttemptDeferred",), "awaiting_funds", None, (1, 1 + stored),
        due=Due.FUNDS, waiting_for="funds", alarm="awaiting_funds", then=TAKEN,
    )  # fmt: skip


def not_taken(*, stored: bool = False) -> ExpectedOutcome:
    """Refused without a word that money would help: one attempt is used."""
    return ExpectedOutcome(
        ("AttemptDeferred",),
        "rejected",
        None,
        (1, 1 + stored),
        retries=1,
        due=Due.BACKOFF,
        then=TAKEN,
    )


def not_found() -> ExpectedOutcome:
    """One answer is enough to fail for good: a person is needed."""
    return ExpectedOutcome(
        ("PermanentlyFailed",), "not_found", "permanently_failed", (1,),
        alarm="permanently_failed", prefix="not_found: ", ends="permanently_failed",
    )  # fmt: skip


def hindered(
    why: str, alarm: str | None = None, *, open_: bool = False, identified: bool = True
) -> "PerCall":
    """Stripe did not begin: the same key again soon, and no attempt is used."""
    return for_both(
        ExpectedOutcome(
            ("AttemptDeferred",),
            why,
            None,
            (1, 1),
            due=Due.HINDERED,
            alarm=alarm,
            open=open_,
            identified=identified,
        )
    )


def unknown(why: str, alarm: str | None = None, *, identified: bool = True) -> "PerCall":
    """Left unknown: the same key and body again, and one attempt is used."""
    follows = ExpectedOutcome(
        ("AttemptDeferred",),
        "unknown",
        None,
        (1, 1),
        retries=1,
        due=Due.BACKOFF,
        open=True,
        alarm=alarm,
    )
    return for_both(follows._replace(prefix=f"{why}: ", identified=identified))


class PerCall(NamedTuple):
    """The expected outcome for each of the two calls; None where the call cannot meet that
    answer."""

    create: ExpectedOutcome | None = None
    reverse: ExpectedOutcome | None = None

    def of(self, call: str) -> ExpectedOutcome | None:
        return self.create if call == CREATE else self.reverse


def for_both(follows: ExpectedOutcome) -> PerCall:
    """Return one outcome for both calls, each of which then succeeds."""
    return PerCall(follows._replace(then=PAID), follows._replace(then=TAKEN))


def repeated_500(*, made: bool) -> PerCall:
    """Count a 500 that its key repeats for ever as one attempt; then Stripe's books decide."""
    first, last = unknown("http_500"), ("Completed", "Reversed")
    more = () if made else ("AttemptDeferred", "CallStarted")
    epochs = (1, 1) if made else (1, 1, 2)
    paid, taken = [("CallStarted", "AttemptDeferred", *more, ending) for ending in last]
    assert first.create is not None
    assert first.reverse is not None
    return PerCall(
        first.create._replace(then=paid, epochs=epochs),
        first.reverse._replace(then=taken, epochs=epochs),
    )
