"""Backfill: matches transfers without a Stripe id with Stripe's lists, one list per destination.
Sends nothing."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

from application.backfill.matches import Doubt, Match, Missing, matched, money_of
from application.gateways import ListedTransfer, StripeBooks
from application.ports import Clock
from domain.errors import ConstraintBroken, Refused, StripeSilent
from domain.identity import may_be_ours
from domain.provider_call.outcome import LookUpFailed

ACTOR = "backfill"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Start of the list. Only the whole list shows that exactly one transfer fits."""
UNREADABLE_IN_A_ROW = 3
"""After so many unreadable lists in a row, the run ends with StripeSilent."""


class MissingRows(Protocol):
    """Our transfers without a Stripe id."""

    def by_destination(self) -> AsyncIterator[Sequence[Missing]]:
        """Iterate over all of them, one batch per destination."""
        ...


class PaidRows(Protocol):
    """Our transfers with a Stripe id."""

    async def paid_by(self, stripe_ids: Sequence[str]) -> Mapping[str, UUID]:
        """Map these ids of Stripe's transfers to our transfers that they have paid."""
        ...


class BackfillCommand(Protocol):
    """The command that records the Stripe id of a transfer."""

    async def backfill(
        self, transfer_id: UUID, stripe_transfer_id: str, actor: str, evidence: str
    ) -> None:
        """Record the Stripe id. Raises Refused, and ConstraintBroken when another transfer has this
        id."""
        ...


class Backfill:
    """One run over all transfers without a Stripe id. Matches recorded before a failure stay; the
    next run does the rest."""

    def __init__(
        self,
        stripe: StripeBooks,
        missing: MissingRows,
        paid: PaidRows,
        command: BackfillCommand,
        clock: Clock,
        ledger_id: str | None = None,
    ) -> None:
        self._ledger_id = ledger_id
        self._stripe, self._missing, self._paid, self._command, self._clock = (
            stripe,
            missing,
            paid,
            command,
            clock,
        )

    async def run(self, apply: bool) -> AsyncIterator[Match | Doubt]:
        """Iterate over the result of each transfer; with `apply`, matches are recorded first.
        Raises StripeSilent."""
        unreadable = 0
        async for rows in self._missing.by_destination():
            try:
                results, unreadable = await self._match(rows), 0
            except LookUpFailed as failed:
                unreadable += 1
                if unreadable == UNREADABLE_IN_A_ROW:
                    raise StripeSilent("the lists of transfers", str(failed)) from None
                results = [
                    Doubt(row, f"Stripe's list could not be read; run it again: {failed}")
                    for row in rows
                ]
            for one in results:
                yield await self._record(one) if apply and isinstance(one, Match) else one

    async def _match(self, rows: Sequence[Missing]) -> list[Match | Doubt]:
        possible = money_of(rows)
        listed = [
            one
            async for one in self._list(rows[0].destination)
            if (one.transfer.amount, one.transfer.currency) in possible
            and not one.transfer.is_foreign(self._ledger_id)
        ]
        claimed = await self._paid.paid_by([one.transfer.stripe_transfer_id for one in listed])
        return list(matched(rows, listed, claimed.keys()))

    async def _list(self, destination: str) -> AsyncIterator[ListedTransfer]:
        until = self._clock.now() + timedelta(days=1)
        after, more = None, True
        while more:
            listed, more, unreadable, after = await self._stripe.page(
                BEGINNING, until, after, destination
            )
            # one that cannot be read may be the payment, so that "exactly one fits" is unproven
            if ours := next((one for one in unreadable if may_be_ours(one.transfer_id)), None):
                raise LookUpFailed(f"{ours.stripe_transfer_id} is unreadable: {ours.why}")
            for one in listed:
                yield one

    async def _record(self, match: Match) -> Match | Doubt:
        row, stripe_transfer_id, evidence = match
        try:
            await self._command.backfill(row.transfer_id, stripe_transfer_id, ACTOR, evidence)
        except (ConstraintBroken, Refused) as refused:
            return Doubt(
                row, f"the transfer changed in the meantime: {refused}", [stripe_transfer_id]
            )
        return match
