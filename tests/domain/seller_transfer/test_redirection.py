"""Redirection of unsent transfers to the new account of a seller."""

import pytest

from domain.lifecycle import TransferStatus
from domain.order.aggregate import Order
from domain.provider_call.outcome import Succeeded
from domain.seller_account import SellerAccount
from domain.seller_transfer import facts
from domain.seller_transfer.manual_resolution import resolve, resolve_by_transfer
from domain.seller_transfer.redirection import redirect
from projections.alarms import latest_alarms
from tests.support.domain_story import SECOND, Answers, Sale, Story

S = TransferStatus


def moved(story: Story) -> bool:
    return redirect(story.transfer, "acct_new", "mia", "a new account", story.now)


def test_unsent_transfer_goes_to_the_new_account(story: Story) -> None:
    assert moved(story)
    send = story.send()
    assert "destination" in send.body
    assert (send.body["destination"], send.key) == (
        "acct_new",
        f"transfer:{story.transfer.id}:e1",
    )
    assert not moved(story), "once"


def test_refused_transfer_gets_another_key(story: Story, answers: type[Answers]) -> None:
    story.call(answers.invalid)
    assert moved(story)
    assert story.send().key == f"transfer:{story.transfer.id}:e2"
    assert story.transfer.former_destinations == ["acct_ada"]


@pytest.mark.parametrize("call", ["under way", "without outcome"])
def test_open_call_keeps_its_account(story: Story, answers: type[Answers], call: str) -> None:
    send = story.send()
    if call == "without outcome":
        story.answer(send, answers.timeout)
    assert not moved(story)
    assert story.transfer.destination == "acct_ada"


def test_paid_transfer_keeps_its_account(story: Story) -> None:
    story.paid()
    assert not moved(story)


def test_transfer_settled_outside_keeps_its_account(story: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        story.call(answers.refused)
    resolve(story.transfer, "mia", "paid by bank", "ticket 7", story.now)
    assert not moved(story)


def test_transfer_on_hold_is_due_at_the_new_account(story: Story, answers: type[Answers]) -> None:
    story.call(answers.on_hold)
    assert story.transfer.next_retry_at is None
    assert moved(story)
    assert story.transfer.next_retry_at == story.now
    assert [row for row in latest_alarms(story.news()) if row.cleared_at is None] == []
    story.call(Succeeded("tr_1", 10_000))
    assert story.status is S.COMPLETED


def test_transfer_held_back_stays_held_back(story: Story) -> None:
    story.transfer.hold_back("the payment failed", story.now)
    assert moved(story)
    assert (story.transfer.next_retry_at, story.transfer.held) == (None, "the payment failed")


def test_given_up_transfer_is_retried_at_the_new_account(
    story: Story, answers: type[Answers]
) -> None:
    for _ in range(6):
        story.call(answers.refused)
    assert moved(story)
    assert story.status is S.PERMANENTLY_FAILED
    story.transfer.retry("mia", "a new account", story.now)
    story.find()
    send = story.send()
    assert "destination" in send.body
    assert send.body["destination"] == "acct_new"


def test_compensation_of_a_moved_seller_goes_to_the_new_account(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90}).all_go_through()
    account = SellerAccount.note("ada", story.now)
    account.move("acct_new", "mia", "a new account", story.now + SECOND)
    destination = account.destination_for(story.order.created_on)
    assert destination == "acct_new"
    story.is_refunded("r1", 50)
    story.all_go_through()
    story.order.moved["ada"] = destination
    story.is_revoked("r1")
    assert [transfer.destination for transfer in story.transfers] == ["acct_ada", "acct_new"]


def test_later_order_says_its_own_account(sale: type[Sale]) -> None:
    account = SellerAccount.note("ada", sale(100, {"ada": 90}).now)
    account.move("acct_new", "mia", "a new account", account.created_on)
    later = Order.register(
        order_id="o2",
        currency="EUR",
        amount=100,
        shares=[],
        now=account.created_on + SECOND,
    )
    assert account.destination_for(later.created_on) is None
    assert not account.move("acct_new", "mia", "again", later.created_on)


def test_redirection_is_told_with_both_accounts(story: Story) -> None:
    story.news()
    moved(story)
    told = story.only(facts.Redirected)
    assert (told.former, told.destination, told.due_now) == ("acct_ada", "acct_new", False)


def test_payment_to_the_former_account_is_evidence(story: Story, answers: type[Answers]) -> None:
    """The charge of a split payment, or a person, has paid the account that the seller left."""
    before = story.books()
    assert before.destination == "acct_ada"
    story.call(answers.refused)
    assert moved(story)
    resolve_by_transfer(story.transfer, before, "mia", "paid before the move", story.now)
    assert (story.status, story.transfer.stripe_transfer_id) == (S.COMPLETED, story.TR)


def test_imported_transfer_that_may_be_paid_keeps_its_account(story: Story) -> None:
    transfer = story.transfer
    transfer.imported, transfer.next_retry_at = True, None
    transfer.operation = story.operation._replace(look_first=True)
    assert transfer.uncleared
    assert not moved(story)
    transfer.next_retry_at = story.now
    assert moved(story)


def test_new_account_is_recorded_once_and_makes_nothing_due(story: Story) -> None:
    transfer = story.transfer
    transfer.next_retry_at, transfer.awaits_charge = None, True
    assert moved(story)
    fact = story.last(facts.Redirected)
    assert (fact.destination, fact.former, fact.epoch) == ("acct_new", "acct_ada", 1)
    assert (fact.actor, fact.reason) == ("mia", "a new account")
    assert (fact.next_retry_at, fact.due_now) == (None, False), "it waits for its charge"
    assert not moved(story)
    assert story.told() == []
