"""Moves of a seller to another account: recorded once, for the orders from before the move."""

from datetime import UTC, datetime, timedelta

from domain.identity import seller_account_stream
from domain.seller_account import Moved, SellerAccount
from tests.support.domain_story import FactStorage

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_move_is_recorded_once_with_its_actor() -> None:
    account = SellerAccount.note("ada", NOW)
    assert account.id == seller_account_stream("ada")
    assert account.move("acct_2", "mia", "a new company", NOW)
    assert not account.move("acct_2", "tom", "again", NOW)
    fact = account.pending_events[-1]
    assert isinstance(fact, Moved)
    assert (fact.seller_id, fact.destination) == ("ada", "acct_2")
    assert (fact.actor, fact.reason) == ("mia", "a new company")
    assert account.version == 2


def test_account_is_that_of_orders_from_before_the_move() -> None:
    account = SellerAccount.note("ada", NOW)
    assert account.destination_for(NOW - HOUR) is None
    account.move("acct_2", "mia", "", NOW)
    assert account.destination_for(NOW - HOUR) == "acct_2"
    assert account.destination_for(NOW) is None
    account.move("acct_3", "mia", "", NOW + HOUR)
    assert account.destination_for(NOW) == "acct_3"


def test_stored_account_reads_back_unchanged(storage: FactStorage) -> None:
    account = SellerAccount.note("ada", NOW)
    account.move("acct_2", "mia", "", NOW)
    read = storage.replayed(list(account.collect_events()))
    assert isinstance(read, SellerAccount)
    assert (read.seller_id, read.destination, read.moved_at) == ("ada", "acct_2", NOW)
