"""Subjects: the names under which parked webhooks wait for an order or a payment."""

from uuid import UUID


def subject_of_order(order_id: str) -> str:
    """Return the subject of webhooks about an order that is not known yet."""
    return f"order:{order_id}"


def subject_of_payment(payment_id: str) -> str:
    """Return the subject of webhooks that name their order only by its payment."""
    return f"payment:{payment_id}"


def subject_of_dispute(dispute_id: str) -> str:
    """Return the subject of webhooks about a dispute that a person decides."""
    return f"dispute:{dispute_id}"


def subjects_of(order_id: str, *payment_ids: str | None) -> list[str]:
    """Return the subjects that an order releases: its own, and those of the payments that it
    names."""
    return [
        subject_of_order(order_id),
        *(subject_of_payment(payment_id) for payment_id in payment_ids if payment_id),
    ]


def subject_of_transfer(transfer_id: UUID) -> str:
    """Return the subject of webhooks about reversals that cannot be attributed yet."""
    return f"transfer:{transfer_id}"
