"""Reasons for deferring an operation or giving it up, and the events that an operation waits for.

Facts store the values as plain strings, which compare equal to the members. The values are
permanent.
"""

from enum import StrEnum


class DeferralReason(StrEnum):
    """Reason why an attempt is made again later: `AttemptDeferred.why`."""

    UNKNOWN = "unknown"
    """The outcome of the call is unknown, so money may have moved."""
    ABSENT = "absent"
    """The provider's records were read and do not contain the operation."""
    OUTAGE = "outage"
    """An outage had consumed the attempt, which does not count."""
    GIVEN_BACK = "given_back"
    """The intent was recorded, but the call was not made."""
    LOOK_UP_LATER = "look_up_later"
    """A look-up would be too early, since a call may still be under way."""
    LOOK_UP_FAILED = "look_up_failed"
    """The provider's records could not be read."""
    UNREAD = "unread"
    """Stripe refused a reversal, and its records could not be read to find the cause."""
    REJECTED = "rejected"
    """Stripe refused for a reason other than missing funds: an attempt is consumed."""
    AWAITING_FUNDS = "awaiting_funds"
    """The balance is too low, by Stripe's code or words."""
    HELD = "held"
    """The PSP's answer cannot be recorded, so a person has to look."""
    PENDING = "pending"
    """The PSP has not decided about the refund, Stripe about the reversal, or Stripe has not made
    the charge."""
    NOT_YET = "not_yet"
    """The PSP cannot refund the payment in its present state."""
    UNKNOWN_THERE = "unknown_there"
    """The PSP acknowledged the refund earlier and now reports that it does not have it."""
    RATE_LIMITED = "rate_limited"
    LOCK_TIMEOUT = "lock_timeout"
    KEY_IN_USE = "key_in_use"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    """This and the four before it are the values of `Hindrance`."""


KEY_REFUSED = frozenset({DeferralReason.UNAUTHORIZED, DeferralReason.FORBIDDEN})
"""Reasons that mean a wrong API key."""


class FailureReason(StrEnum):
    """Reason why a transfer failed: `Failed.reason` and `PermanentlyFailed.reason`."""

    REJECTED = "rejected"
    """Stripe refused, possibly until no attempt was left."""
    ON_HOLD = "on_hold"
    """The seller's account cannot receive transfers now."""
    AWAITING_FUNDS = "awaiting_funds"
    """The platform's balance is too low."""
    FUNDS_DEADLINE = "funds_deadline"
    """The balance was too low for longer than `Policy.funds_deadline`."""
    EXHAUSTED = "exhausted"
    """No attempt is left, and Stripe's records do not contain the operation."""
    REFUNDED = "refunded"
    """Refunds took all of it, so nothing is sent; but Stripe may still make it, since a call had an
    unknown outcome."""
    NOT_FOUND = "not_found"
    """Stripe does not know the transfer that is to be reversed."""
    NO_STRIPE_TRANSFER_ID = "no_stripe_transfer_id"
    """The transfer is paid, but its id at Stripe is missing, so it cannot be reversed."""
    EVIDENCE_HELD = "evidence_held"
    """Stripe holds an object that the present status cannot take."""
    CLEARED = "cleared"
    """A person decided whether an older system had paid an imported transfer."""
    SOURCE_USED_UP = "source_used_up"
    """Other transfers have used up the charge of the order; the transfer is sent without it."""
    SOURCE_CURRENCY = "source_currency"
    """The charge of the order was settled in another currency than the transfer's."""
    HELD_BACK = "held_back"
    """A person ended a transfer that was held back."""
    RESOLVED = "resolved"
    """A person ended a transfer or a reversal that waited for its next attempt."""


class WaitingFor(StrEnum):
    """Event that a transfer or a reversal waits for: `waiting_for` of facts and rows."""

    TRANSFER = "transfer"
    """The outcome of the transfer itself."""
    REVERSAL = "reversal"
    """The outcome of the reversal before it."""
    OPERATOR = "operator"
    """A retry or a decision by a person."""
    FUNDS = "funds"
    """A sufficient balance."""
    STRIPE = "stripe"
    """A decision of Stripe about a reversal that is pending there."""
    CHARGE = "charge"
    """The charge of the order, which is read at Stripe and funds the transfer."""
    ACCOUNT = "account"
    """A seller's account that can receive transfers again."""
