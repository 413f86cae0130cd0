"""Stripe's events about a transfer to the account that its seller has left."""

from application.command_handler import NO_EXTRAS, CommandHandler
from application.webhooks.stripe.external_changes import ExternalChanges
from domain.identity import transfer_stream
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.redirection import redirect
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.clock import DatabaseClock
from tests.support.storage import in_memory
from tests.support.told_ledger import ACCOUNT, SHARE, ToldLedger

SALE = transfer_stream("o1", "anna")


async def test_reversal_of_a_transfer_to_the_former_account_is_recorded() -> None:
    """The transfer was redirected, and then it turned out that a split payment had made it."""
    async with in_memory() as storage:
        ledger = ToldLedger(storage)
        await ledger.sells()
        uow, now = await storage.ledger.load([SALE]), await storage.now()
        assert redirect(uow.transfer(SALE), "acct_new", "mia", "a new account", now)
        complete(uow.transfer(SALE), "tr_1", SHARE, None, now)
        await storage.ledger.append(uow)
        made = ReversalAtStripe("trr_1", 100, None)
        seen = TransferAtStripe("tr_1", SHARE, 100, "EUR", ACCOUNT, None, (made,))
        changes = ExternalChanges(CommandHandler(storage.ledger, DatabaseClock()))
        assert await changes.record(SALE, seen, NO_EXTRAS) is None
        transfer = await ledger.transfer()
        assert (transfer.amount_reversed, dict(transfer.evidence)) == (100, {})
