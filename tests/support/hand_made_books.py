"""Books made by hand, to test the oracle of the fault simulation.

`settled_books` is one order of 1,000 with two sellers, half of it refunded, with all books equal.
Tests change one thing, and expect one broken invariant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from infrastructure.simulation.faults.books import (
    Acknowledged,
    HeldDispute,
    HeldPayment,
    HeldRefund,
    HeldReversal,
    HeldTransfer,
    StoredFactView,
    StripeRequest,
)
from infrastructure.simulation.faults.invariants.broken import invariant_of
from infrastructure.simulation.faults.invariants.oracle import InvariantOracle

Json = dict[str, Any]
SHARES = {"anna": 600, "ben": 300}
TRANSFER, REVERSAL = "transfer of {}", "reversal of {}"
NOW = 100_000.0


@dataclass
class HandMadeBooks:
    """Books as plain lists; see `infrastructure.simulation.faults.books.Books`."""

    now: float = NOW
    step: str = "a step"
    era: int = 0
    phase: str = "healing"
    transfers: list[HeldTransfer] = field(default_factory=list)
    requests: list[StripeRequest] = field(default_factory=list)
    stripe_violations: Sequence[str] = ()
    available: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    payments: list[HeldPayment] = field(default_factory=list)
    refunds: list[HeldRefund] = field(default_factory=list)
    disputes: list[HeldDispute] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    stored: list[StoredFactView] = field(default_factory=list)
    tables: dict[str, list[Json]] = field(default_factory=dict)
    comparison: Sequence[str] = ()

    def facts(self, after: int = 0) -> Sequence[StoredFactView]:
        return self.stored[after:]

    def rows(self, table: str) -> list[Json]:
        return self.tables.setdefault(table, [])

    def add(self, stream: str, topic: str, **fact: Any) -> None:
        """Store one more fact."""
        version = 1 + sum(one.stream_id == stream for one in self.stored)
        position = len(self.stored) + 1
        self.stored.append(StoredFactView(stream, version, position, f"ledger.{topic}", fact))

    def row(self, table: str, name: object) -> Json:
        """Return the row whose first column is this."""
        return next(row for row in self.rows(table) if next(iter(row.values())) == name)

    def transfer(self, seller: str) -> HeldTransfer:
        return next(one for one in self.transfers if one.metadata["seller_id"] == seller)

    def change(self, seller: str, **fields: Any) -> None:
        """Change the transfer to a seller at Stripe."""
        place = self.transfers.index(self.transfer(seller))
        self.transfers[place] = self.transfers[place]._replace(**fields)

    def request(self, key: str, amount: int, path: str = "/v1/transfers", name: str = "") -> None:
        """Let a request reach Stripe, which makes the object with our id `name`."""
        number, form = len(self.requests) + 1, {"amount": str(amount)}
        if name:
            form[f"metadata[{'reversal' if 'reversals' in path else 'transfer'}_id]"] = name
        self.requests.append(StripeRequest(number, NOW, path, key, form, 200, b"{}", True))


def judged(books: HandMadeBooks) -> set[str]:
    """Return the invariants that the books break, by the whole oracle."""
    return {invariant_of(one) for one in InvariantOracle().at_end(books)}


def settled_books(refund: int = 500) -> HandMadeBooks:
    """Return one order of 1,000, of which `refund` is refunded: all books are equal."""
    books = HandMadeBooks()
    shares = [{"seller_id": seller, "destination": f"acct_{seller}", "amount": amount}
              for seller, amount in SHARES.items()]  # fmt: skip
    books.payments.append(HeldPayment("pay_1", "o1", 1_000, 1_000, "EUR", "succeeded"))
    books.refunds.append(HeldRefund("re_1", "pay_1", refund, "EUR", "succeeded"))
    books.add("order o1", "order.registered", order_id="o1", amount=1_000, currency="EUR",
              shares=shares, payment_id="pay_1")  # fmt: skip
    books.add("order o1", "order.paid", payment_id="pay_1", source="hyperswitch:evt_1")
    for seller in SHARES:
        _pay(books, seller)
    books.add("refund re_1", "refund.opened", refund_id="re_1", psp_refund_id="re_1",
              order_id="o1", amount=refund, currency="EUR", explicit=None, origin="psp")  # fmt: skip
    books.add("refund re_1", "refund.succeeded", source="hyperswitch:evt_2", allocation=[])
    books.add("order o1", "order.refund_allocated", refund_id="re_1", amount=refund, explicit=None)
    for seller in SHARES:
        reverse(books, seller, SHARES[seller] * refund // 1_000)
    books.rows("orders").append({"order_id": "o1", "amount": 1_000, "status": "paid",
                                 "next_retry_at": None})  # fmt: skip
    books.rows("refunds").append({"stream_id": "refund re_1", "status": "succeeded"})
    for number in (1, 2):
        acknowledge(books, f"evt_{number}", "done")
    books.acknowledged.append(Acknowledged(3, 0, "register", "o1", {"amount": 1_000}, False))
    return books


def acknowledge(books: HandMadeBooks, event: str, status: str) -> None:
    """Acknowledge and store a webhook."""
    books.acknowledged.append(
        Acknowledged(len(books.acknowledged) + 1, 0, "webhook", f"hyperswitch:{event}", {}, False)
    )
    books.rows("webhook_inbox").append({"inbox_id": event, "provider": "hyperswitch",
        "event_id": event, "event_type": "refund_succeeded", "status": status, "reason": None})  # fmt: skip


def _pay(books: HandMadeBooks, seller: str) -> None:
    stream, amount = TRANSFER.format(seller), SHARES[seller]
    key = f"transfer:{stream}:e1"
    books.add(stream, "seller_transfer.created", order_id="o1", seller_id=seller, cause="sale",
              destination=f"acct_{seller}", amount=amount, currency="EUR")  # fmt: skip
    books.add(stream, "seller_transfer.call_started", key=key, body={"amount": amount})
    books.request(key, amount, name=stream)
    named = {"transfer_id": stream, "order_id": "o1", "seller_id": seller}
    books.transfers.append(
        HeldTransfer(f"tr_{seller}", amount, 0, "eur", f"acct_{seller}", None, 0, named, [])
    )
    books.add(stream, "seller_transfer.completed", stripe_transfer_id=f"tr_{seller}", amount=amount)
    books.rows("seller_transfers").append(
        {"transfer_id": stream, "order_id": "o1", "seller_id": seller, "status": "completed",
         "destination": f"acct_{seller}", "currency": "EUR", "amount": amount, "last_error": None,
         "amount_reversed": 0, "stripe_transfer_id": f"tr_{seller}", "next_retry_at": None,
         "waiting_for": None}
    )  # fmt: skip


def reverse(books: HandMadeBooks, seller: str, amount: int, cause: str = "re_1") -> None:
    """Reverse a part of a transfer in all books."""
    stream, held = TRANSFER.format(seller), books.transfer(seller)
    name = f"{REVERSAL.format(seller)} for {cause}"
    key, total = f"reversal:{name}:e1", held.amount_reversed + amount
    books.add(stream, "seller_transfer.reversal_requested", reversal_id=name, refund_id=cause,
              amount=amount, reason="refund")  # fmt: skip
    books.add(stream, "seller_transfer.call_started", key=key, body={"amount": amount})
    books.request(key, amount, f"/v1/transfers/{held.id}/reversals", name)
    made = HeldReversal(f"trr_{seller}_{cause}", held.id, amount, None, 0,
                        {"reversal_id": name, "refund_id": cause})  # fmt: skip
    books.change(seller, amount_reversed=total, reversals=[*held.reversals, made])
    ending = "reversed" if total == held.amount else "partially_reversed"
    books.add(stream, f"seller_transfer.{ending}", reversal_id=name, stripe_reversal_id=made.id,
              amount=amount, amount_reversed=total, settled_by="us")  # fmt: skip
    books.row("seller_transfers", stream).update(status=ending, amount_reversed=total)


def without_facts(books: HandMadeBooks, topic: str) -> HandMadeBooks:
    """Return the books without the facts of a topic, numbered anew."""
    changed = replace(books, stored=[])
    for one in books.stored:
        if one.topic != f"ledger.{topic}":
            changed.add(one.stream_id, one.topic.removeprefix("ledger."), **one.fact)
    return changed
