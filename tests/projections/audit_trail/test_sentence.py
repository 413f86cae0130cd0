"""Sentences of the audit trail: one for every fact, with its ids and amounts."""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from typing import TypeVar, get_args
from uuid import UUID

import pytest

from domain.dispute import AnyDisputeFact
from domain.fact import Fact
from domain.finding import AnyFindingFact
from domain.order import facts as order_facts
from domain.order.facts import AnyOrderFact
from domain.pause import AnyPauseFact
from domain.payout import AnyPayoutFact
from domain.refund import facts as refund_facts
from domain.refund.facts import AnyRefundFact
from domain.seller_account import AnySellerAccountFact
from domain.seller_transfer import facts as transfer_facts
from domain.seller_transfer.facts import AnyTransferFact
from domain.seller_transfer.reversal import Reason
from domain.webhook import AnyWebhookFact
from projections.audit_trail.payload import payload
from projections.registry import sentence

F = TypeVar("F", bound=Fact)
NOW = datetime(2026, 11, 20, 12, 30, 15, 250_000, tzinfo=UTC)
STREAM = UUID(int=7)

SAMPLES: dict[str, object] = {
    "status": "failed",
    "kind": "missing_here",
    "to": "failed",
    "allocation": [{"seller_id": "ada", "amount": 800, "transfer_id": None, "reversal_id": None}],
    "seller_ids": ["ada"],
    "shares": [{"seller_id": "ada", "destination": "acct_1", "amount": 8_000}],
    "explicit": {"ada": 800},
    "targets": {"ada": 800},
    "still_withdrawn": {"CAD": 16},
    "capabilities": {"transfers": "inactive"},
    "body": {"amount": 8_000, "refund_id": "tl_7", "payment_id": "pay_7"},
}
BY_TYPE = {int: 1_234, bool: True, str: "some", datetime: NOW}
UNIONS = (
    AnyTransferFact,
    AnyOrderFact,
    AnyRefundFact,
    AnyPauseFact,
    AnyDisputeFact,
    AnyPayoutFact,
    AnyFindingFact,
    AnyWebhookFact,
    AnySellerAccountFact,
)
FACTS = [kind for union in UNIONS for kind in get_args(union)]


def made(kind: type[F], **members: object) -> F:
    """Return a fact of this kind, with sample values for fields without a given or default
    value."""
    stamp: dict[str, object] = {
        "originator_id": STREAM,
        "originator_version": 3,
        "timestamp": NOW,
        "originator_topic": "x",
    }
    given = {**stamp, **members}
    for field in fields(kind):
        if field.name not in given and field.default is MISSING:
            given[field.name] = SAMPLES.get(field.name, _sample(field.name, str(field.type)))
    construct: Callable[..., F] = kind  # the members are chosen at run time
    return construct(
        **{field.name: given[field.name] for field in fields(kind) if field.name in given}
    )


def _sample(name: str, type_: str) -> object:
    kind = next((known for known in (datetime, bool, int) if known.__name__ in type_), str)
    return f"the {name}" if kind is str else BY_TYPE[kind]


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
@pytest.mark.parametrize("currency", [None, "EUR"])
def test_every_fact_has_one_sentence(kind: type[Fact], currency: str | None) -> None:
    said = sentence(made(kind), currency)
    assert said[0].isupper() or said[0] in "'0123456789", said
    assert said.endswith("."), said
    assert ". " not in said, said
    assert "None" not in said, said
    assert "\n" not in said, said
    assert ";" in said or "," in said, f"what happens next? {said}"


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_ids_are_quoted(kind: type[Fact]) -> None:
    said = sentence(made(kind))
    for name in (
        "refund_id",
        "seller_id",
        "order_id",
        "stripe_transfer_id",
        "stripe_reversal_id",
        "stripe_id",
        "actor",
        "dispute_id",
        "payout_id",
    ):
        if f"the {name}" in said:
            assert f"'the {name}'" in said


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_payload_is_json_of_the_facts_own_fields(kind: type[Fact]) -> None:
    fact = made(kind)
    carried = json.loads(json.dumps(payload(fact)))
    own = {field.name for field in fields(kind)} - {
        "originator_id",
        "originator_version",
        "timestamp",
        "originator_topic",
    }
    assert set(carried) == own
    assert all(
        carried[name] == getattr(fact, name)
        for name in own
        if not isinstance(getattr(fact, name), datetime)
    )


def test_instants_are_shown_in_utc_with_z() -> None:
    fact = made(transfer_facts.Created)
    assert payload(fact)["next_retry_at"] == "2026-11-20T12:30:15.250000Z"
    assert "2026-11-20T12:30:15Z" in sentence(fact)


def test_amounts_name_their_unit() -> None:
    fact = made(transfer_facts.Completed, amount=8_000, stripe_transfer_id="tr_1")
    assert "80.00 EUR" in sentence(fact, "EUR")
    assert "8000 minor units," in sentence(fact)
    assert "1 JPY" in sentence(made(transfer_facts.Completed, amount=1), "JPY")


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (made(transfer_facts.Created, cause="sale"), "is to be paid"),
        (made(transfer_facts.Created, cause='["compensation"]'), "given back"),
        (
            made(transfer_facts.Failed, waiting_for="account", next_retry_at=None),
            "until the seller's account is ready",
        ),
        (
            made(transfer_facts.Failed, waiting_for="funds"),
            "until the balance is sufficient, and the ledger sends the transfer again at",
        ),
        (
            made(transfer_facts.AttemptDeferred, why="unknown", waiting_for=None),
            "under the same key",
        ),
        (
            made(transfer_facts.AttemptDeferred, why="unknown", exhausted=True),
            "up at Stripe, and nothing is sent",
        ),
        (
            made(transfer_facts.AttemptDeferred, why="rate_limited", waiting_for=None),
            "no attempt is used up",
        ),
        (made(transfer_facts.ReversalQueued, waiting_for="operator"), "until an operator"),
        (made(transfer_facts.ReversalRequested, reason=Reason.EXTERNAL.value), "nothing is sent"),
        (made(transfer_facts.Reversed, settled_by="external", drift=-5), "Others reversed"),
        (
            made(transfer_facts.Reversed, settled_by="us", drift=-5),
            "5 minor units less than requested",
        ),
        (
            made(transfer_facts.PartiallyReversed, settled_by="us", drift=0),
            "part of the transfer is reversed",
        ),
        (made(refund_facts.Opened, origin="settled"), "done elsewhere"),
        (made(refund_facts.Failed, after_success=True), "given back"),
        (made(refund_facts.Failed, after_success=False), "nothing is taken"),
        (made(refund_facts.Succeeded, allocation=[]), "no seller gives anything back"),
        (made(order_facts.RefundAllocated, targets={"ada": 0}), "take nothing from the sellers"),
    ],
)
def test_sentence_follows_the_fact(fact: Fact, words: str) -> None:
    assert words in sentence(fact)


def test_foreign_text_stays_within_the_sentence() -> None:
    fact = made(
        transfer_facts.PermanentlyFailed,
        reason="rejected",
        detail="No such account.\nSee the docs.",
    )
    assert sentence(fact) == (
        "The ledger stops trying (rejected: No such account. See the docs); an operator has "
        "to decide."
    )


def test_unknown_fact_has_no_sentence() -> None:
    class Stray(Fact):
        """A fact that no union contains."""

    with pytest.raises(TypeError, match="Stray"):
        sentence(Stray(originator_id=STREAM, originator_version=1, timestamp=NOW))
