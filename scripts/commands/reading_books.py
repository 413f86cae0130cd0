"""Stripe's books, page by page, beside ours. Nothing is locked or open while Stripe is asked, and no page is kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from application.gateways import ListedTransfer, StripeBooks
from application.reconciliation.comparison import alike, ambiguous, differences, is_complete, missing_there, our_id
from domain.errors import LedgerError, NotAdoptable, StripeSilent
from domain.finding import DecidedBy, Difference
from domain.provider_call.outcome import LookUpFailed, NotAtStripe, ProviderSignal
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.reconciliation import LedgerRows, SeenAtStripe, UnlistedTransfer
from infrastructure.service import Service
from scripts.commands.reconcile_report import ADOPTED, IGNORED, Found

LIST, RETRIEVE = "transfers.list", "transfers.retrieve"


class Reading:
    """Reads Stripe's books at the pace that all processes share, and ours beside them."""

    def __init__(self, service: Service, seen: SeenAtStripe) -> None:
        self._service, self._seen = service, seen
        self._books: StripeBooks = service.gateway
        self._ledger, self._rows = PostgresEventLog(service.store), LedgerRows(service.pool)
        self._rate_limiter = PostgresRateLimiter(service.pool, service.settings.stripe_max_rps)
        self.read = 0
        """How many of Stripe's transfers were read."""

    async def differences(self, start: datetime, end: datetime) -> AsyncIterator[Found]:
        """All of them, in the order of Stripe's list; then what Stripe does not have."""
        async for listed in self._pages(start, end):
            beside = await self._beside(listed)
            several = [Found(found, one.created_at) for one, ours in beside for found in await self._of(one.transfer, ours)]
            for marked in await self._marked(several):
                yield marked
        async for batch in self._seen.unverified(start, end):
            gone = [one for one in batch if await self._look_at(one.stripe_transfer_id) is None]
            for marked in await self._marked(await self._missing_there(gone)):
                yield marked

    async def adopt(self, difference: Difference, by: DecidedBy) -> str:
        """`adopted`, or why not. What it shows is read once more: the finding may be old."""
        shown = await self._look_at(difference.stripe_transfer_id)
        if shown is None or difference.transfer_id is None:
            return f"cannot be adopted: {difference.obstacle or 'it is not at Stripe any more'}"
        try:
            await self._service.commands.reconciliation.adopt(difference.transfer_id, shown, difference.id, by)
        except NotAdoptable as refused:
            return f"cannot be adopted: {refused.why}"
        except LedgerError as refused:
            return f"cannot be adopted: {refused}"
        return ADOPTED

    async def ignore(self, difference: Difference, by: DecidedBy) -> str:
        """Let it stand."""
        await self._service.commands.reconciliation.ignore(difference, by)
        return IGNORED

    async def _pages(self, start: datetime, end: datetime) -> AsyncIterator[Sequence[ListedTransfer]]:
        after, more = None, True
        while more:
            await self._turn(LIST)
            try:
                listed, more = await self._books.page(start, end, after)
            except LookUpFailed as unread:
                await self._heard(LIST, unread)
                raise StripeSilent("the list of transfers", str(unread)) from None
            after = listed[-1].transfer.stripe_transfer_id if listed else None
            news = await self._seen.add([one.transfer.stripe_transfer_id for one in listed])
            if more and not news:
                raise StripeSilent("the list of transfers", "it goes round in circles")
            self.read += news
            yield listed

    async def _beside(
        self, listed: Sequence[ListedTransfer]
    ) -> list[tuple[ListedTransfer, SellerTransfer | Sequence[SellerTransfer] | None]]:
        """Ours for each of Stripe's: by Stripe's id of it, by our id, else by what it may be, which can be several."""
        paid = await self._rows.paid_by([one.transfer.stripe_transfer_id for one in listed])
        ids = [paid.get(one.transfer.stripe_transfer_id) or our_id(one.transfer) for one in listed]
        unmarked = [one for one, id_ in zip(listed, ids, strict=True) if id_ is None and one.transfer_group is not None]
        groups = {one.transfer_group for one in unmarked if one.transfer_group is not None}
        maybe = await self._rows.alike(groups, {one.transfer.destination for one in unmarked}) if unmarked else []
        uow = await self._ledger.load({id_ for id_ in ids if id_ is not None}.union(maybe))
        known = {transfer.id: transfer for transfer in uow.transfers()}
        return [
            (one, known.get(id_) if id_ is not None else alike(one, known.values())) for one, id_ in zip(listed, ids, strict=True)
        ]

    async def _of(self, listed: TransferAtStripe, ours: SellerTransfer | Sequence[SellerTransfer] | None) -> list[Difference]:
        if isinstance(ours, Sequence):
            if len(ours) > 1 and not ours[0].stripe_transfer_id:
                return [ambiguous(listed, ours)]
            ours = ours[0] if ours else None
        if ours is None:
            return differences(listed, None, self._service.clock.now())
        return await self._settled(listed, ours)

    async def _settled(self, listed: TransferAtStripe, ours: SellerTransfer) -> list[Difference]:
        """What differs whichever of the two books is read first: the rest moved on between the readings."""
        seen: TransferAtStripe | None = listed
        if not is_complete(listed):
            seen = await self._look_at(listed.stripe_transfer_id)
            ours = (await self._ledger.load([ours.id])).transfer(ours.id)
        now = self._service.clock.now()
        found = differences(seen, ours, now) if seen is not None else []
        again = await self._look_at(listed.stripe_transfer_id) if found else None
        still = {one.id for one in differences(again, ours, now)} if again is not None else set()
        return [one for one in found if one.id in still]

    async def _missing_there(self, gone: Sequence[UnlistedTransfer]) -> list[Found]:
        uow = await self._ledger.load([one.transfer_id for one in gone])
        return [Found(missing_there(uow.transfer(one.transfer_id), one.stripe_transfer_id), one.created_at) for one in gone]

    async def _marked(self, several: Sequence[Found]) -> list[Found]:
        """With who lets them stand, where somebody does."""
        ignored = await self._rows.ignored([one.difference.id for one in several]) if several else {}
        return [one._replace(ignored=ignored.get(one.difference.id)) for one in several]

    async def _look_at(self, stripe_transfer_id: str) -> TransferAtStripe | None:
        await self._turn(RETRIEVE)
        try:
            return await self._books.get_transfer(stripe_transfer_id)
        except NotAtStripe:
            return None
        except LookUpFailed as unread:
            await self._heard(RETRIEVE, unread)
            raise StripeSilent(stripe_transfer_id, str(unread)) from None

    async def _turn(self, endpoint: str) -> None:
        (wait,) = await self._rate_limiter.reserve(endpoint, 1)
        await asyncio.sleep(wait)

    async def _heard(self, endpoint: str, unread: LookUpFailed) -> None:
        if unread.signal is ProviderSignal.TOO_FAST:
            await self._rate_limiter.slow_down(endpoint)
