"""Errors of the ledger, as one tree. The module imports nothing of the project, so both sides of a
port can use it.

LedgerError
├── Refused                  the command is not possible in the present state; nothing changed
│   ├── IllegalTransition        the life cycle has no such arrow
│   ├── ContentDiffers           the same id again, with other content
│   │   ├── ImportDiffers            an order's shares differ from its imported transfers
│   │   ├── CollectedDiffers         a payment received another amount or currency
│   │   └── PaymentVoided            the payment was cancelled after its capture
│   ├── UnknownId                nothing is stored under this id
│   ├── Contradiction            a report that a recorded final status rules out; ask the provider
│   ├── OutdatedAnswer           an answer about a refund that has changed since the question began
│   ├── NotTheAuthority          a report by a provider without authority over the order
│   ├── OtherPayment             a report about another payment than the one that paid the order
│   ├── AwaitsPayment            a refund above the order, whose collected amount is not known
│   ├── ExceedsOrder             an amount above the rest of the order
│   ├── CallInFlight             a call to Stripe is under way; its outcome comes first
│   ├── NothingToRetry           no call is due, so a retry has nothing to send
│   ├── NothingToResolve         nothing is stuck
│   ├── NothingToDecide          the refund or dispute was not set aside
│   ├── EndsWithItsCause         an alarm that a person cannot acknowledge
│   ├── AlarmSeenAgain           an alarm that was raised again since a person saw it
│   ├── EvidenceDiffers          the object at Stripe does not prove the outcome it was given for
│   ├── PspRefused               the payment provider refused, and made nothing
│   ├── NotAdoptable             a difference from Stripe's books that cannot be adopted
│   └── BadMoney                 not an amount or a currency that the ledger accepts
├── Conflict                 another writer appended first: reload and decide again
├── Unavailable              the database cannot answer now; the request may be fine
│   └── NewerRelease             a stream has a fact that only a newer release knows
├── StripeSilent             Stripe could not be asked; nothing changed
├── PspSilent                the payment provider's answer is unknown; repeat the same request
└── ConstraintBroken         the database refused the rows of the facts; names the constraint
"""

from collections.abc import Sequence
from uuid import UUID


class LedgerError(Exception):
    """An error that the ledger raises on purpose. Its text is one sentence for a person."""

    code = "ledger_error"


class Refused(LedgerError):
    """The command is not possible in the present state. Nothing has changed."""

    code = "refused"


class IllegalTransition(Refused):
    """The life cycle has no arrow from the present status to the wanted one."""

    code = "illegal_transition"

    def __init__(self, transfer_id: UUID, before: str, after: str, fact: str) -> None:
        self.transfer_id, self.before, self.after, self.fact = transfer_id, before, after, fact
        super().__init__(
            f"{fact} would take transfer {transfer_id} from {before} to {after}, which its life "
            "cycle forbids."
        )


class ContentDiffers(Refused):
    """The same id was used before, with other content."""

    code = "content_differs"

    def __init__(self, kind: str, name: str, differences: Sequence[str]) -> None:
        self.kind, self.name, self.differences = kind, name, tuple(differences)
        super().__init__(
            f"{kind} {name!r} is already recorded with another {', '.join(self.differences)}; "
            f"repeat the first request unchanged or use a new id."
        )


class ImportDiffers(ContentDiffers):
    """The shares of an order are not the transfers that were imported for it from an older system.
    Nothing is paid."""

    code = "import_differs"

    def __init__(self, order_id: str, seller_id: str, imported: str, ordered: str) -> None:
        self.kind, self.name, self.differences = "order", order_id, (seller_id,)
        Refused.__init__(
            self,
            f"Order {order_id!r} does not match its import: seller {seller_id!r} has {imported} "
            f"in the import and {ordered} "
            f"in the order; register the order with exactly the imported shares.",
        )


class UnknownId(Refused):
    """Nothing is stored under this id."""

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        by_caller = kind in ("order", "refund")
        advice = f"check the id, or record the {kind} first" if by_caller else "check the id"
        super().__init__(f"There is no {kind} {name!r}; {advice}.")


class OrderNotPaid(Refused):
    """The order has no payment that could be refunded: its report may still be on its way."""

    code = "order_not_paid"

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(
            f"Order {order_id!r} has no confirmed payment yet, so there is no payment to refund. "
            f"Wait for the webhook of its payment, or report the payment with POST "
            f"/v1/orders/{order_id}/paid; then try again."
        )


class CollectedDiffers(ContentDiffers):
    """A payment received less than was ordered, another currency, or another amount than is
    recorded. No seller is paid by it."""

    def __init__(
        self,
        order_id: str,
        payment_id: str | None,
        *,
        received: str,
        ordered: str,
        recorded: str | None = None,
    ) -> None:
        self.kind, self.name, self.differences = "order", order_id, ("amount received",)
        payment = f"Payment {payment_id!r}" if payment_id else "The payment"
        known = f", and {recorded} are recorded as received" if recorded else ""
        Refused.__init__(
            self,
            f"{payment} of order {order_id!r} received {received} (minor units), but {ordered} "
            f"were ordered{known}; no seller is paid by this report: compare it with the payment "
            f"at the payment provider, then report the order as paid, or refund the buyer.",
        )


class PaymentVoided(ContentDiffers):
    """The payment was cancelled after its capture, so the buyer has his money back. Nothing is
    paid."""

    def __init__(self, order_id: str, payment_id: str) -> None:
        self.kind, self.name, self.differences = "order", order_id, ("payment_id",)
        Refused.__init__(
            self,
            f"Payment {payment_id!r} of order {order_id!r} was reported as cancelled after its "
            f"capture, so it pays no seller; collect the money again under a new order.",
        )


class AwaitsPayment(Refused):
    """A refund is above the order's amount, and the payment has not told yet how much was
    collected. The refund waits for the payment."""

    code = "awaits_payment"

    def __init__(self, order_id: str, refund_id: str, amount: int, left: int) -> None:
        self.order_id, self.refund_id = order_id, refund_id
        super().__init__(
            f"Refund {refund_id!r} is over {amount} (minor units), and order {order_id!r}, whose "
            f"payment is not recorded yet, has {left} left; the refund waits for the payment, "
            f"which tells how much was collected."
        )


class Contradiction(Refused):
    """A report that the recorded state rules out. It is never dropped: the provider is asked, or a
    person decides."""

    code = "contradiction"

    def __init__(
        self, kind: str, name: str, recorded: str, reported: str, version: int | None = None
    ) -> None:
        """`version` is that of the stream which rules the report out."""
        self.kind, self.name, self.recorded, self.reported = kind, name, recorded, reported
        self.version = version
        super().__init__(
            f"{kind} {name!r} is recorded as {recorded}, but reported as {reported}; "
            f"ask the payment provider for the status of this {kind.lower()}."
        )


class OutdatedAnswer(Refused):
    """An answer of the payment provider about a refund that has changed here since the question
    began. The answer may be older than the change, so the provider is asked again."""

    code = "outdated_answer"

    def __init__(self, refund_id: str, asked_at: int, version: int) -> None:
        self.refund_id = refund_id
        super().__init__(
            f"Refund {refund_id!r} was at version {asked_at} when the payment provider was asked, "
            f"and is at version {version} now; ask again."
        )


class NotTheAuthority(Refused):
    """A report by a provider without authority over this order. The provider with authority reports
    the same event."""

    code = "not_the_authority"

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(
            f"The provider is not the authority for order {order_id!r}: another provider took "
            "the payment or was the first to "
            "report a refund or dispute, and only its reports count."
        )


class OtherPayment(Refused):
    """A report about another payment than the one that paid the order. The sellers' shares are not
    concerned."""

    code = "other_payment"

    def __init__(self, order_id: str, paid_by: str, told: str) -> None:
        self.order_id, self.paid_by, self.told = order_id, paid_by, told
        super().__init__(
            f"The report is about payment {told}, but order {order_id!r} was paid by payment "
            f"{paid_by}, so nothing is taken from its sellers."
        )


class ExceedsOrder(Refused):
    """An amount is above the rest of the order or of a share."""

    code = "exceeds_order"

    def __init__(self, what: str, asked: int, left: int, currency: str) -> None:
        self.what, self.asked, self.left, self.currency = what, asked, left, currency
        super().__init__(
            f"{what} asks for {asked} {currency} (minor units), but only {left} is left."
        )


class CallInFlight(Refused):
    """A call to Stripe is under way. Its outcome has to be recorded first."""

    code = "call_in_flight"

    def __init__(self, transfer_id: UUID) -> None:
        self.transfer_id = transfer_id
        super().__init__(
            f"A call to Stripe for transfer {transfer_id} is in flight; wait for its outcome, "
            "then try again."
        )


class NothingToRetry(Refused):
    """No call is due, so a retry has nothing to send."""

    code = "nothing_to_retry"

    def __init__(self, transfer_id: UUID, why: str) -> None:
        self.transfer_id, self.why = transfer_id, why
        super().__init__(f"Transfer {transfer_id} has nothing to retry: {why}.")


class EndsWithItsCause(Refused):
    """Alarms of this kind end with their cause, so a person cannot acknowledge them."""

    code = "ends_with_its_cause"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(
            f"An alarm {kind!r} ends with its cause and cannot be acknowledged; docs/runbook.md "
            "names its remedy."
        )


class AlarmSeenAgain(Refused):
    """The alarm was raised again since the person looked at it."""

    code = "alarm_seen_again"

    def __init__(self, kind: str, subject: str) -> None:
        super().__init__(
            f"The alarm {kind!r} of {subject} was raised again since you looked; read it again, "
            "then acknowledge it."
        )


class NothingToRead(Refused):
    """The charge of an order is known, or nothing names it, so a read has nothing to find."""

    code = "nothing_to_read"

    def __init__(self, order_id: str, why: str) -> None:
        self.order_id, self.why = order_id, why
        super().__init__(f"Order {order_id!r} has no charge to read: {why}.")


class NothingToResolve(Refused):
    """Nothing is stuck, so a person has nothing to resolve."""

    code = "nothing_to_resolve"

    def __init__(self, transfer_id: UUID, why: str) -> None:
        self.transfer_id, self.why = transfer_id, why
        super().__init__(f"Transfer {transfer_id} has nothing to resolve: {why}.")


class NothingToDecide(Refused):
    """The refund or dispute was not set aside, so a person has nothing to decide."""

    code = "nothing_to_decide"

    def __init__(self, kind: str, name: str, why: str) -> None:
        self.kind, self.name, self.why = kind, name, why
        super().__init__(
            f"{kind} {name!r} has nothing to decide: {why}; `decide` is for a refund or dispute "
            "with an alarm that asks for it."
        )


class EvidenceDiffers(Refused):
    """The object at Stripe does not prove the outcome it was given for."""

    code = "evidence_differs"

    def __init__(
        self,
        stripe_id: str,
        why: str,
        remedy: str = "check the id, or give another object as evidence",
    ) -> None:
        self.stripe_id, self.why = stripe_id, why
        super().__init__(f"{stripe_id} {why}; {remedy}.")


class PspRefused(Refused):
    """The payment provider refused definitely. It has made nothing."""

    code = "psp_refused"

    def __init__(self, what: str, why: str) -> None:
        self.what, self.why = what, why
        super().__init__(
            f"The payment provider refused {what} ({why.rstrip('.')}); correct the cause, then "
            "send it again."
        )


class NotAdoptable(Refused):
    """A difference from Stripe's books that cannot be adopted."""

    code = "not_adoptable"

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{name} cannot be adopted: {why}.")


class BadMoney(Refused):
    """Not an amount in minor units, or not a currency, that the ledger accepts."""

    code = "bad_money"


class Conflict(LedgerError):
    """Another append came first for these (stream, version) pairs. Reload and decide again; repeat
    no side effect."""

    code = "conflict"

    def __init__(self, taken: Sequence[tuple[UUID, int]]) -> None:
        self.taken = tuple(taken)
        listed = ", ".join(f"{stream} v{version}" for stream, version in self.taken)
        super().__init__(f"Another writer was first ({listed}); reload and decide again.")


class OrderBusy(Conflict):
    """Other commands on this order were running all the time. Nothing was decided; try again."""

    def __init__(self, order_id: str) -> None:
        self.taken = ()
        LedgerError.__init__(
            self, f"Other commands on order {order_id!r} are still running; try again in a moment."
        )


class ConstraintBroken(LedgerError):
    """The database refused the rows of these facts. Nothing of the append is stored."""

    code = "constraint_broken"

    def __init__(self, constraint: str | None, detail: str) -> None:
        self.constraint, self.detail = constraint, detail
        super().__init__(
            f"The database refused the append ({constraint or 'no constraint named'}): {detail}"
        )


class StripeSilent(LedgerError):
    """Stripe could not be asked about an object. Nothing has changed."""

    code = "stripe_silent"

    def __init__(self, stripe_id: str, why: str) -> None:
        self.stripe_id, self.why = stripe_id, why
        super().__init__(
            f"{stripe_id} could not be read at Stripe ({why}); nothing has changed, try again."
        )


class PspSilent(LedgerError):
    """The payment provider's answer is unknown. The request names an id of the ledger, so it can be
    repeated safely."""

    code = "psp_silent"

    def __init__(self, what: str, why: str) -> None:
        self.what, self.why = what, why
        super().__init__(
            f"The outcome of {what} at the payment provider is unknown ({why.rstrip('.')}); "
            "send the same request again, it is safe."
        )


class Unavailable(LedgerError):
    """The database cannot answer now. The request may be fine, and the failure does not count as an
    attempt.

    `in_doubt`: the request may or may not have been stored, so load the streams again before any
    decision.
    """

    code = "database_unavailable"

    def __init__(self, why: str, *, in_doubt: bool = False) -> None:
        self.why, self.in_doubt = why, in_doubt
        doubtful = (
            "it is unknown whether the request was stored: check whether it took effect, then retry"
        )
        next_ = doubtful if in_doubt else "nothing was stored: retry later"
        super().__init__(f"The database cannot answer now ({why}); {next_}.")


class NewerRelease(Unavailable):
    """A stream has a fact of a newer release. Its work waits for that release, and counts as no
    attempt."""

    code = "newer_release"

    def __init__(self, topic: str) -> None:
        self.topic, self.why, self.in_doubt = topic, f"fact {topic} of a newer release", False
        LedgerError.__init__(
            self,
            f"A newer release recorded {topic}, which this release does not know; deploy that "
            "release or a later one, until then the work of this stream waits.",
        )
