"""Statement of a seller for a period: opening balance, every movement of money and closing balance,
for each currency.

Balances come from the folded rows, movements from the amounts in the facts. Opening plus movements
equals closing only if both agree. A period includes its start and excludes its end.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from domain.fact import Fact
from domain.seller_transfer import facts
from projections.balances import paid
from projections.registry import fold
from projections.transfer_and_reversals import TransferFold

US = "us"
"""`settled_by` of a reversal that the ledger made."""


class MovementKind(StrEnum):
    """Reason of a movement."""

    PAID = "paid"
    REVERSED = "reversed"
    EXTERNAL_REVERSAL = "external_reversal"
    """A reversal that others made at Stripe."""
    TAKEN_OVER = "taken_over"
    """Amount that the seller had kept of a transfer when its row was imported from an older
    system."""


class Period(NamedTuple):
    """Times from `start` up to but excluding `end`, where the next period may begin."""

    start: datetime
    end: datetime


class MoneyMovement(NamedTuple):
    """One movement of money. `amount` in minor units is above 0 if the seller receives it."""

    position: int
    at: datetime
    kind: str
    amount: int
    currency: str
    order_id: str
    refund_id: str | None
    transfer_id: UUID
    stripe_transfer_id: str | None
    stripe_reversal_id: str | None


class StatementAccount(NamedTuple):
    """One currency of a statement. A balance is the amount sent and not reversed."""

    currency: str
    opening: int
    movements: Sequence[MoneyMovement]
    closing: int

    @property
    def difference(self) -> int:
        """Amount that the movements do not explain; 0 when the account ties out."""
        return self.closing - self.opening - sum(movement.amount for movement in self.movements)


class SellerStatement(NamedTuple):
    """All currencies of one seller. `position` is that of the newest fact when the statement was
    made."""

    seller_id: str
    period: Period
    position: int
    accounts: Sequence[StatementAccount]

    def only(self, currency: str | None) -> "SellerStatement":
        """Return the statement of one currency; of all when None."""
        return self._replace(
            accounts=[one for one in self.accounts if currency in (None, one.currency)]
        )

    @property
    def unexplained(self) -> list[str]:
        """A sentence for each account that does not tie out."""
        return [
            f"{account.currency}: opening {account.opening} and all movements make "
            f"{account.closing - account.difference}, "
            f"but closing is {account.closing}."
            for account in self.accounts
            if account.difference
        ]


def account_of(
    facts_with_positions: Iterable[tuple[int, Fact]], period: Period
) -> StatementAccount | None:
    """Return the account of one transfer from its facts with positions; None when it began after
    the period."""
    # times within a stream never go back, so the facts before the end are a prefix
    known = list(takewhile(lambda one: one[1].timestamp < period.end, facts_with_positions))
    opened = _transfer(None, [fact for _, fact in known if fact.timestamp < period.start])
    closed, movements = opened, list[MoneyMovement]()
    for position, fact in (one for one in known if one[1].timestamp >= period.start):
        before, closed = closed, _transfer(closed, [fact])
        assert closed is not None
        movements += _movements(position, fact, before, closed)
    return (
        None
        if closed is None
        else StatementAccount(closed.transfer.currency, _held(opened), movements, _held(closed))
    )


class StatementAccounts:
    """Accounts of a seller's transfers, added up by currency."""

    def __init__(self) -> None:
        self._balances: dict[str, tuple[int, int]] = {}
        self._movements: dict[str, list[MoneyMovement]] = {}
        self.movements = 0

    def add(self, account: StatementAccount) -> None:
        """Add the account of one transfer."""
        opening, closing = self._balances.get(account.currency, (0, 0))
        self._balances[account.currency] = (opening + account.opening, closing + account.closing)
        self._movements.setdefault(account.currency, []).extend(account.movements)
        self.movements += len(account.movements)

    def total(self) -> list[StatementAccount]:
        """Return one account for each currency, its movements in the order of the ledger."""
        return [
            StatementAccount(currency, opening, sorted(self._movements[currency]), closing)
            for currency, (opening, closing) in sorted(self._balances.items())
        ]


def _transfer(state: TransferFold | None, news: Sequence[Fact]) -> TransferFold | None:
    folded = fold(state, news)
    assert folded is None or isinstance(folded, TransferFold)
    return folded


def _held(transfer: TransferFold | None) -> int:
    return 0 if transfer is None else paid(transfer) - transfer.transfer.amount_reversed


def _movements(
    position: int, fact: Fact, before: TransferFold | None, after: TransferFold
) -> Iterator[MoneyMovement]:
    match fact:
        case facts.Completed():
            yield _movement(position, fact, after, MovementKind.PAID, fact.amount)
        case facts.PartiallyReversed() | facts.Reversed():
            kind = (
                MovementKind.REVERSED if fact.settled_by == US else MovementKind.EXTERNAL_REVERSAL
            )
            reversal = after.reversals.rows[fact.reversal_id]
            taken = _movement(position, fact, after, kind, -fact.amount)
            yield taken._replace(
                refund_id=reversal.refund_id, stripe_reversal_id=fact.stripe_reversal_id
            )
        case facts.Imported() | facts.StripeTransferIdBackfilled() if _held(after) != _held(before):
            # these facts carry no moved amount: it follows from the status in the older system
            kind = (
                MovementKind.TAKEN_OVER if isinstance(fact, facts.Imported) else MovementKind.PAID
            )
            yield _movement(position, fact, after, kind, _held(after) - _held(before))


def _movement(
    position: int, fact: Fact, after: TransferFold, kind: MovementKind, amount: int
) -> MoneyMovement:
    row = after.transfer
    return MoneyMovement(
        position=position,
        at=fact.timestamp,
        kind=kind.value,
        amount=amount,
        currency=row.currency,
        order_id=row.order_id,
        refund_id=None,
        transfer_id=row.transfer_id,
        stripe_transfer_id=row.stripe_transfer_id,
        stripe_reversal_id=None,
    )
