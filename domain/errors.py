"""What can go wrong, as one tree. A leaf module: it imports nothing of ours, so both sides of a port can share it.

LedgerError
├── Refused                  the command is not possible; nothing changed
│   ├── IllegalTransition        the life cycle has no such arrow
│   ├── ContentDiffers           the same id again, with other content
│   │   └── ImportDiffers            an order's shares are not the transfers that an older system has made for it
│   ├── UnknownId                nothing is stored under that id
│   ├── Contradiction            a report that recorded finals rule out; somebody has to ask the authority
│   ├── NotTheAuthority          a report of the provider whose word does not count
│   ├── ExceedsOrder             more than what is left of the order
│   ├── CallInFlight             a call to Stripe is under way; its outcome comes first
│   ├── NothingToRetry           nothing is due, so there is nothing to send
│   ├── NothingToResolve         nothing is stuck, so there is nothing to resolve
│   ├── EvidenceDiffers          what Stripe shows is not what it is said to prove
│   ├── PspRefused               the payment provider said no, and nothing was made there
│   ├── NotAdoptable             a difference from Stripe's books that cannot be taken in as it is
│   └── BadMoney                 not an amount or a currency we accept
├── Conflict                 somebody else appended first: reload and decide again
├── Unavailable              the database cannot answer now; the request itself may be fine
├── StripeSilent             Stripe could not be asked; nothing changed
├── PspSilent                the payment provider's answer is not known; asking again is safe
└── ConstraintBroken         the database refused the facts' rows; names the constraint
"""

from collections.abc import Sequence
from uuid import UUID


class LedgerError(Exception):
    """Every error this ledger raises on purpose; its text is one sentence for a person."""

    code = "ledger_error"


class Refused(LedgerError):
    """The command is not possible in the present state. Nothing has changed."""

    code = "refused"


class IllegalTransition(Refused):
    """The life cycle has no arrow from the present status to the wanted one."""

    code = "illegal_transition"

    def __init__(self, transfer_id: UUID, before: str, after: str, fact: str) -> None:
        self.transfer_id, self.before, self.after, self.fact = transfer_id, before, after, fact
        super().__init__(f"{fact} would take transfer {transfer_id} from {before} to {after}, which its life cycle forbids.")


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
    """An order's shares are not the transfers that an older system has made for it: nothing is paid."""

    code = "import_differs"

    def __init__(self, order_id: str, seller_id: str, imported: str, ordered: str) -> None:
        self.kind, self.name, self.differences = "order", order_id, (seller_id,)
        Refused.__init__(
            self,
            f"Order {order_id!r} was imported, and its shares are not what was: seller {seller_id!r} has {imported} by the "
            f"import, and {ordered} in the order; register it with just the shares that were imported.",
        )


class UnknownId(Refused):
    """Nothing is stored under this id."""

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"There is no {kind} {name!r}; check the id, or record it first.")


class Contradiction(Refused):
    """A report that what is recorded rules out. It is never dropped: the authority is asked, or a person decides."""

    code = "contradiction"

    def __init__(self, kind: str, name: str, recorded: str, reported: str) -> None:
        self.kind, self.name, self.recorded, self.reported = kind, name, recorded, reported
        super().__init__(
            f"{kind} {name!r} is recorded as {recorded}, but reported as {reported}; ask the payment provider which is so."
        )


class NotTheAuthority(Refused):
    """A report of a provider whose word about this order does not count; the one whose word does reports it as well."""

    code = "not_the_authority"

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(f"not the authority: another provider took the payment of order {order_id!r}")


class ExceedsOrder(Refused):
    """More is asked for than is left of the order or of a share."""

    code = "exceeds_order"

    def __init__(self, what: str, asked: int, left: int, currency: str) -> None:
        self.what, self.asked, self.left, self.currency = what, asked, left, currency
        super().__init__(f"{what} asks for {asked} {currency} (minor units), but only {left} is left.")


class CallInFlight(Refused):
    """A call to Stripe is under way; its outcome has to be recorded first."""

    code = "call_in_flight"

    def __init__(self, transfer_id: UUID) -> None:
        self.transfer_id = transfer_id
        super().__init__(f"A call to Stripe for transfer {transfer_id} is in flight; wait for its outcome, then try again.")


class NothingToRetry(Refused):
    """Nothing is due now, so there is nothing that a retry could send."""

    code = "nothing_to_retry"

    def __init__(self, transfer_id: UUID, why: str) -> None:
        self.transfer_id, self.why = transfer_id, why
        super().__init__(f"Transfer {transfer_id} has nothing to retry: {why}.")


class NothingToResolve(Refused):
    """Nothing is stuck, so there is nothing that a person has to resolve."""

    code = "nothing_to_resolve"

    def __init__(self, transfer_id: UUID, why: str) -> None:
        self.transfer_id, self.why = transfer_id, why
        super().__init__(f"Transfer {transfer_id} has nothing to resolve: {why}.")


class EvidenceDiffers(Refused):
    """The object at Stripe is not what it is said to prove."""

    code = "evidence_differs"

    def __init__(self, stripe_id: str, why: str) -> None:
        self.stripe_id, self.why = stripe_id, why
        super().__init__(f"{stripe_id} {why}; check the id, or resolve by another evidence.")


class PspRefused(Refused):
    """The payment provider definitely said no: nothing was made there."""

    code = "psp_refused"

    def __init__(self, what: str, why: str) -> None:
        self.what, self.why = what, why
        super().__init__(f"The payment provider refused {what} ({why.rstrip('.')}); correct that, then ask again.")


class NotAdoptable(Refused):
    """A difference from Stripe's books that cannot be taken in as it is."""

    code = "not_adoptable"

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{name} cannot be adopted: {why}.")


class BadMoney(Refused):
    """Not an amount in minor units, or not a currency, that the ledger accepts."""

    code = "bad_money"


class Conflict(LedgerError):
    """Another append came first for these (stream, version) pairs: reload, decide again, repeat no side effect."""

    code = "conflict"

    def __init__(self, taken: Sequence[tuple[UUID, int]]) -> None:
        self.taken = tuple(taken)
        listed = ", ".join(f"{stream} v{version}" for stream, version in self.taken)
        super().__init__(f"Another writer was first ({listed}); reload and decide again.")


class ConstraintBroken(LedgerError):
    """The database refused the rows of these facts; nothing of this append is stored."""

    code = "constraint_broken"

    def __init__(self, constraint: str | None, detail: str) -> None:
        self.constraint, self.detail = constraint, detail
        super().__init__(f"The database refused the append ({constraint or 'no constraint named'}): {detail}")


class StripeSilent(LedgerError):
    """Stripe could not be asked about an object. Nothing has changed."""

    code = "stripe_silent"

    def __init__(self, stripe_id: str, why: str) -> None:
        self.stripe_id, self.why = stripe_id, why
        super().__init__(f"{stripe_id} could not be read at Stripe ({why}); nothing has changed, try again.")


class PspSilent(LedgerError):
    """Nobody can tell whether the payment provider has done it. It is asked under a name of ours, so asking again is safe."""

    code = "psp_silent"

    def __init__(self, what: str, why: str) -> None:
        self.what, self.why = what, why
        super().__init__(f"The payment provider has not answered for {what} ({why.rstrip('.')}); ask again, which is safe.")


class Unavailable(LedgerError):
    """The database cannot answer now; the request itself may be fine. It counts as no attempt of anything.

    `in_doubt`: the request may or may not have been stored; load again before deciding anything.
    """

    code = "database_unavailable"

    def __init__(self, why: str, *, in_doubt: bool = False) -> None:
        self.why, self.in_doubt = why, in_doubt
        stored = "it is unknown whether the request was stored" if in_doubt else "nothing was stored"
        super().__init__(f"The database cannot answer now ({why}); {stored}, so load again and retry later.")
