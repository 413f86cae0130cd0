"""Reader of a reconciliation: Stripe's list, page by page, compared with our transfers.

No lock and no transaction is open during a request to Stripe, and only one page is kept in memory.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from application.gateways import ListedTransfer, StripeBooks, UnreadableTransfer
from application.ports import Clock, EventLog
from application.reconciliation.comparison import (
    alike,
    ambiguous,
    differences,
    is_complete,
    missing_there,
    our_id,
)
from application.reconciliation.lost_compensations import lost_compensation
from application.reconciliation.ports import (
    IgnoredFinding,
    OurRows,
    SeenTransfers,
    UnlistedTransfer,
)
from domain.errors import StripeSilent
from domain.finding import Difference
from domain.identity import may_be_ours, order_stream
from domain.provider_call.outcome import LookUpFailed, NotAtStripe
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer


class DetectedDifference(NamedTuple):
    """A difference, the creation time of its transfer, and the decision to ignore the difference,
    if there is one.

    The creation time is Stripe's; for a transfer that is missing at Stripe, ours.
    """

    difference: Difference
    since: datetime
    ignored: IgnoredFinding | None = None


async def transfer_at_stripe(
    stripe: StripeBooks, stripe_transfer_id: str
) -> TransferAtStripe | None:
    """Read a transfer at Stripe; None when Stripe says that there is none. Raises StripeSilent."""
    try:
        return await stripe.get_transfer(stripe_transfer_id)
    except NotAtStripe:
        return None
    except LookUpFailed as failed:
        raise StripeSilent(stripe_transfer_id, str(failed)) from None


class ReconciliationReader:
    """Finds the differences between Stripe's transfers of a period and ours. Raises StripeSilent
    when a read fails."""

    def __init__(
        self,
        stripe: StripeBooks,
        log: EventLog,
        rows: OurRows,
        seen: SeenTransfers,
        clock: Clock,
        ledger_id: str | None = None,
    ) -> None:
        self._ledger_id = ledger_id
        self._stripe, self._log, self._rows, self._seen, self._clock = (
            stripe,
            log,
            rows,
            seen,
            clock,
        )
        self.read = 0
        """Number of Stripe's transfers read so far."""
        self.skipped = 0
        """Number of transfers of others among them that could not be read."""
        self._reached: datetime | None = None

    async def differences(
        self, start: datetime, end: datetime
    ) -> AsyncIterator[DetectedDifference]:
        """Iterate over all differences: first in the order of Stripe's list, then transfers that
        are missing at Stripe."""
        async for page in self._pages(start, end):
            matched = await self._match(page)
            found = [
                DetectedDifference(one, listed.created_at)
                for listed, ours in matched
                for one in await self._compare(listed.transfer, ours)
            ]
            for one in await self._with_decisions(found):
                yield one
        async for batch in self._seen.unlisted(start, end):
            missing = [
                one
                for one in batch
                if await self.transfer_at_stripe(one.stripe_transfer_id) is None
            ]
            for one in await self._with_decisions(await self._missing_at_stripe(missing)):
                yield one

    def part_read(self, start: datetime, end: datetime) -> float:
        """Return the part of the period, from 0 to 1, that is read: Stripe lists the newest
        first."""
        return 0.0 if self._reached is None else (end - self._reached) / (end - start)

    async def transfer_at_stripe(self, stripe_transfer_id: str) -> TransferAtStripe | None:
        """Read a transfer at Stripe; None when Stripe says that there is none. Raises
        StripeSilent."""
        return await transfer_at_stripe(self._stripe, stripe_transfer_id)

    async def _pages(
        self, start: datetime, end: datetime
    ) -> AsyncIterator[Sequence[ListedTransfer]]:
        after, more = None, True
        while more:
            try:
                listed, more, unreadable, last = await self._stripe.page(start, end, after)
            except LookUpFailed as failed:
                raise StripeSilent("the list of transfers", str(failed)) from None
            await self._skip_strangers(unreadable)
            after = last
            names = [one.transfer.stripe_transfer_id for one in listed]
            new = await self._seen.add(
                [*names, *(one.stripe_transfer_id for one in unreadable if one.stripe_transfer_id)]
            )
            if more and not new:
                raise StripeSilent(
                    "the list of transfers", "its next page holds only transfers of earlier pages"
                )
            self.read += new
            self._reached = listed[-1].created_at if listed else self._reached
            yield [
                one.unclaimed() if one.transfer.is_foreign(self._ledger_id) else one
                for one in listed
            ]

    async def _skip_strangers(self, unreadable: Sequence[UnreadableTransfer]) -> None:
        """Count unreadable transfers of others. Raises StripeSilent for one of ours."""
        if not unreadable:
            return
        paid = await self._rows.paid_by([one.stripe_transfer_id for one in unreadable])
        named = {UUID(one.transfer_id) for one in unreadable if may_be_ours(one.transfer_id)}
        known = {str(one.id) for one in (await self._log.load(named)).transfers()}
        for one in unreadable:
            if one.stripe_transfer_id in paid or one.transfer_id in known:
                raise StripeSilent(one.stripe_transfer_id, one.why)
        self.skipped += len(unreadable)

    async def _match(
        self, page: Sequence[ListedTransfer]
    ) -> list[tuple[ListedTransfer, SellerTransfer | Sequence[SellerTransfer] | None]]:
        """Match each listed transfer with ours: by Stripe's id, by our id, else by its properties,
        which can fit several."""
        paid = await self._rows.paid_by([one.transfer.stripe_transfer_id for one in page])
        ids = [paid.get(one.transfer.stripe_transfer_id) or our_id(one.transfer) for one in page]
        unmarked = [
            one
            for one, id_ in zip(page, ids, strict=True)
            if id_ is None and (one.transfer_group or one.source_transaction) is not None
        ]
        names = {
            name
            for one in unmarked
            for name in (one.transfer_group, one.source_transaction)
            if name is not None
        }
        maybe = (
            await self._rows.alike(names, {one.transfer.destination for one in unmarked})
            if unmarked
            else []
        )
        uow = await self._log.load({id_ for id_ in ids if id_ is not None}.union(maybe))
        known = {transfer.id: transfer for transfer in uow.transfers()}
        return [
            (one, known.get(id_) if id_ is not None else alike(one, known.values()))
            for one, id_ in zip(page, ids, strict=True)
        ]

    async def _compare(
        self, listed: TransferAtStripe, ours: SellerTransfer | Sequence[SellerTransfer] | None
    ) -> list[Difference]:
        if isinstance(ours, Sequence):
            if len(ours) > 1 and not ours[0].stripe_transfer_id:
                return [ambiguous(listed, ours)]
            ours = ours[0] if ours else None
        if ours is None:
            family = await self._family_of(listed)
            return differences(listed, None, self._clock.now(), family)
        return await self._compare_twice(listed, ours)

    async def _family_of(self, seen: TransferAtStripe) -> Sequence[SellerTransfer]:
        """Return the transfers of the order that a lost compensation names."""
        lost = lost_compensation(seen)
        if lost is None:
            return []
        uow = await self._log.load([order_stream(lost.order_id)])
        order = uow.known_order(lost.order_id)
        return (await self._log.load(order.transfer_ids())).transfers() if order else []

    async def _compare_twice(
        self, listed: TransferAtStripe, ours: SellerTransfer
    ) -> list[Difference]:
        """Keep the differences that a second read at Stripe confirms: others come from changes
        between the two reads."""
        seen: TransferAtStripe | None = listed
        if not is_complete(listed):
            seen = await self.transfer_at_stripe(listed.stripe_transfer_id)
            ours = (await self._log.load([ours.id])).transfer(ours.id)
        now = self._clock.now()
        found = differences(seen, ours, now) if seen is not None else []
        again = await self.transfer_at_stripe(listed.stripe_transfer_id) if found else None
        confirmed = (
            {one.id for one in differences(again, ours, now)} if again is not None else set()
        )
        return [one for one in found if one.id in confirmed]

    async def _missing_at_stripe(
        self, missing: Sequence[UnlistedTransfer]
    ) -> list[DetectedDifference]:
        uow = await self._log.load([one.transfer_id for one in missing])
        return [
            DetectedDifference(
                missing_there(uow.transfer(one.transfer_id), one.stripe_transfer_id), one.created_at
            )
            for one in missing
        ]

    async def _with_decisions(
        self, found: Sequence[DetectedDifference]
    ) -> list[DetectedDifference]:
        ignored = await self._rows.ignored([one.difference.id for one in found]) if found else {}
        return [one._replace(ignored=ignored.get(one.difference.id)) for one in found]
