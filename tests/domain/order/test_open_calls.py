"""Recovery of shares while a call is open: only the cause of the call waits for its outcome."""

from domain.identity import dispute_cause
from domain.order.disputes import count_dispute, revoke_dispute
from domain.provider_call.outcome import Succeeded
from tests.support.domain_story import Answers, Sale

DP = dispute_cause("dp")


def lost(story: Sale, answers: type[Answers]) -> None:
    """Let the due call go unanswered."""
    (transfer,) = story.transfers
    story.answer(transfer, story.send(transfer), answers.timeout)


def amounts(story: Sale) -> list[tuple[str | None, int, str]]:
    return [
        (one.refund_id, one.amount, one.state.value) for one in story.of("ada").reversals.values()
    ]


def answered(story: Sale) -> None:
    """Let the open call, and then all that is due, succeed."""
    ada = story.of("ada")
    assert ada.next_retry_at is not None
    story.now = max(story.now, ada.next_retry_at)
    send = story.send(ada)
    story.answer(ada, send, Succeeded("trr_open", send.body["amount"]))
    story.all_go_through()


def test_open_call_of_a_won_dispute_keeps_no_other_reversal_waiting(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = sale(1_000, {"ada": 501}).all_go_through()
    assert count_dispute(story.order, "dp", 700, "EUR", story.now) is None
    story.recover_shares(DP)
    lost(story, answers)
    story.is_refunded("r1", 333)
    revoke_dispute(story.order, "dp", story.now)
    story.recover_shares(DP)
    assert amounts(story) == [(DP, 350, "requested"), ("r1", 151, "queued")]
    story.is_refunded("r2", 200)
    assert amounts(story) == [(DP, 350, "requested"), ("r1", 151, "withdrawn")]
    answered(story)
    assert story.net("ada") == 501 - 267


def test_open_call_of_a_failed_refund_is_no_amount_to_give_back(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = sale(1_000, {"ada": 501}).all_go_through()
    story.is_refunded("r2", 200)
    story.is_refunded("r1", 333)
    lost(story, answers)
    story.is_revoked("r2")
    assert amounts(story) == [("r2", 100, "requested"), ("r1", 166, "queued")]
    assert len(story.transfers) == 1, "the outcome of the open call decides the rest"
    answered(story)
    assert story.net("ada") == 501 - 166


def test_amount_that_was_given_back_is_not_given_back_again(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = sale(1_000, {"ada": 501}).all_go_through()
    story.is_refunded("r2", 200)
    story.all_go_through()
    story.is_refunded("r1", 333)
    lost(story, answers)
    story.is_revoked("r1")
    story.is_revoked("r2")
    assert [one.original for one in story.transfers] == [501, 100]
    story.is_refunded("r2", 200)
    assert [one.original for one in story.transfers] == [501, 100]
    answered(story)
    assert story.net("ada") == 501 - 100
