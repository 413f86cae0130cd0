"""Sentences about decisions of a person that no row shows."""

from domain import seller_account, webhook
from domain.seller_account import AnySellerAccountFact
from domain.webhook import AnyWebhookFact
from projections.sentences.text import aside, clause


def of_webhook(fact: AnyWebhookFact, currency: str | None) -> str:
    """Describe a decision about a stored webhook."""
    match fact:
        case webhook.Noted():
            return (
                f"Webhook {fact.provider}:{fact.event_id} ({fact.event_type}) is recorded; the "
                "decision of a person follows."
            )
        case webhook.Discarded():
            return (
                f"{fact.actor!r} discards webhook {fact.provider}:{fact.event_id}, which was "
                f"{fact.status}{aside(fact.why)}, because {clause(fact.reason)!r}; it is not "
                "handled, unless it is replayed."
            )
        case webhook.ReplayRequested():
            return (
                f"{fact.actor!r} has webhook {fact.provider}:{fact.event_id}, which was "
                f"{fact.status}{aside(fact.why)}, handled again from the start, because "
                f"{clause(fact.reason)!r}."
            )


def of_account(fact: AnySellerAccountFact, currency: str | None) -> str:
    """Describe the move of a seller to another account."""
    match fact:
        case seller_account.Noted():
            return f"Seller {fact.seller_id!r} moves for the first time; the new account follows."
        case seller_account.Moved():
            return (
                f"{fact.actor!r} moves seller {fact.seller_id!r} to account {fact.destination!r}, "
                f"because {clause(fact.reason)!r}; unsent transfers and later compensations go to "
                "it."
            )
