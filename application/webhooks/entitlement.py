"""Entitlement of webhooks: which sender may speak about which object.

A seller with access to the API of the own account can create refunds, disputes and metadata there,
and Stripe signs the events about them. So a signature proves only that Stripe sent the event; the
account of the event decides what it may say. `TABLE` is the only rule, checked before any handler;
docs/security.md shows the same table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

from pydantic import TypeAdapter

HYPERSWITCH, STRIPE = "hyperswitch", "stripe"
THIN = "v1."
"""Prefix of the types of thin events, which mean the same as the snapshot events."""
LONGEST_SHOWN = 100
"""Characters of a sender that a reason shows."""


class Sender(StrEnum):
    """Sender that a rule entitles."""

    PSP = "the PSP"
    PLATFORM = "the platform's own account"
    ACCOUNT = "the connected account"
    EITHER = "the platform's own account or a connected account"
    """Each speaks about itself only."""
    EITHER_ABOUT_ACCOUNT = "the connected account or the platform's own account"
    """The platform may speak about its connected accounts, since the account is always read."""


class Compared(StrEnum):
    """Members that have to agree, besides the sender."""

    PAYMENT = "the payment of the order"
    TRANSFER = "amount, currency and destination of our transfer"
    ITSELF = "the account of the object and the sender"
    NOTHING = "nothing"


class Rule(NamedTuple):
    """One row: the types (with `*` for any rest) that `sender` may tell. `compared` are members
    that have to agree."""

    provider: str
    types: str
    sender: Sender
    compared: Compared


TABLE: Sequence[Rule] = (
    Rule(HYPERSWITCH, "payment_*", Sender.PSP, Compared.PAYMENT),
    Rule(HYPERSWITCH, "refund_*", Sender.PSP, Compared.PAYMENT),
    Rule(HYPERSWITCH, "dispute_*", Sender.PSP, Compared.PAYMENT),
    Rule(HYPERSWITCH, "surcharge_*", Sender.PSP, Compared.PAYMENT),
    # of no concern, unless such an event shows a payment of which a part moved
    Rule(HYPERSWITCH, "action_required", Sender.PSP, Compared.PAYMENT),
    Rule(HYPERSWITCH, "mandate_*", Sender.PSP, Compared.NOTHING),
    Rule(HYPERSWITCH, "payout_*", Sender.PSP, Compared.NOTHING),
    Rule(HYPERSWITCH, "invoice_*", Sender.PSP, Compared.NOTHING),
    Rule(STRIPE, "refund.*", Sender.PLATFORM, Compared.PAYMENT),
    Rule(STRIPE, "charge.*", Sender.PLATFORM, Compared.PAYMENT),
    Rule(STRIPE, "payment_intent.*", Sender.PLATFORM, Compared.PAYMENT),
    Rule(STRIPE, "transfer.*", Sender.PLATFORM, Compared.TRANSFER),
    Rule(STRIPE, "account.updated", Sender.ACCOUNT, Compared.ITSELF),
    Rule(STRIPE, "account.application.deauthorized", Sender.ACCOUNT, Compared.NOTHING),
    Rule(STRIPE, "capability.updated", Sender.ACCOUNT, Compared.ITSELF),
    Rule(STRIPE, "payout.*", Sender.ACCOUNT, Compared.NOTHING),
    Rule(STRIPE, "balance.*", Sender.EITHER, Compared.NOTHING),
    Rule(STRIPE, "v2.core.account*", Sender.EITHER_ABOUT_ACCOUNT, Compared.ITSELF),
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The members of an event that name its sender, its object and its mode, of any shape."""

    account: object = None
    context: object = None
    """As `account`, in thin events. It may be a path, whose last segment is the account."""
    user_id: object = None
    """As `account`, in API versions before 2017-05-25."""
    livemode: object = None
    data: object = None
    related_object: object = None

    @property
    def sender(self) -> str | None:
        """The account that tells the event; None: the platform."""
        return sender_of(self.account, self.context, self.user_id)

    @property
    def about(self) -> str | None:
        """The account that the object of an account or capability event is or belongs to.

        None: a thin event without such an object. Empty: a snapshot event that does not say it.
        """
        if isinstance(self.data, Mapping) and self.related_object is None:
            shown = self.data.get("object")
            owner = shown.get("account", shown.get("id")) if isinstance(shown, Mapping) else None
            return owner if isinstance(owner, str) else ""
        related = self.related_object if isinstance(self.related_object, Mapping) else {}
        url, name = related.get("url"), related.get("id")
        _, accounts, path = url.partition("/accounts/") if isinstance(url, str) else ("", "", "")
        if accounts:
            return path.partition("/")[0].partition("?")[0]
        return name if isinstance(name, str) and name.startswith("acct_") else None


_ENVELOPE = TypeAdapter(Envelope)


def sender_of(*named: object) -> str | None:
    """Return the account that `account`, `context` and `user_id` name; None: the platform.

    Of a path, the last segment counts. A value that is no text names an account that cannot exist,
    and never the platform.
    """
    for value in named:
        if value is not None and value != "":
            return value.rstrip("/").rpartition("/")[2] if isinstance(value, str) else "unreadable"
    return None


def is_told_by_account(body: Mapping[str, object]) -> bool:
    """Return whether a Stripe event names a connected account as its sender."""
    return sender_of(*(body.get(name) for name in ("account", "context", "user_id"))) is not None


def rule_of(provider: str, event_type: str) -> Rule | None:
    """Return the rule for events of this type; a thin event has the rule of its snapshot form."""
    name = event_type.removeprefix(THIN) if provider == STRIPE else event_type
    rules = (rule for rule in TABLE if rule.provider == provider and fnmatchcase(name, rule.types))
    return next(rules, None)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """Check of the sender of an event. `livemode`: the mode of the ledger, if it is known;
    `own_account`: the id of the platform's account, if it is known."""

    livemode: bool | None = None
    own_account: str | None = None

    def refusal(self, provider: str, event_type: str, body: bytes) -> str | None:
        """Return the reason why the sender may not say this; None if it may. Raises
        ValidationError for a body that is no JSON object."""
        rule = rule_of(provider, event_type)
        if rule is None:
            return f"no sender is entitled to report {event_type}"
        if rule.sender is Sender.PSP:
            return None
        envelope = _ENVELOPE.validate_json(body)
        if self._other_mode(envelope):
            told = "live" if envelope.livemode else "test"
            return f"an event of the other mode: it is {told}, and this ledger is not"
        sender = envelope.sender
        if sender is not None and sender == self.own_account:
            sender = None
        return _refusal(rule, event_type, sender, envelope.about)

    def _other_mode(self, envelope: Envelope) -> bool:
        known = isinstance(envelope.livemode, bool) and self.livemode is not None
        return known and envelope.livemode != self.livemode


def _refusal(rule: Rule, event_type: str, sender: str | None, about: str | None) -> str | None:
    shown = repr((sender or "")[:LONGEST_SHOWN])
    if rule.sender is Sender.PLATFORM and sender is not None:
        return (
            f"not entitled: the connected account {shown} reports {event_type}, and only the "
            "platform's own account may"
        )
    if rule.sender is Sender.ACCOUNT and sender is None:
        return (
            f"not entitled: the platform's own account reports {event_type}, which counts only "
            "from a connected account about itself"
        )
    itself = rule.compared is not Compared.ITSELF or sender is None or about in (None, sender)
    if not itself:
        return (
            f"not entitled: the connected account {shown} reports {event_type} about the account "
            f"{(about or '')[:LONGEST_SHOWN]!r}, and an account may speak only about itself"
        )
    return None
