"""Parser of an older system's rows: each becomes an opening fact, or an error of one sentence."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from domain import money
from domain.errors import BadMoney
from domain.fact import Fact
from domain.identity import reversal_name, transfer_stream
from domain.lifecycle import TransferStatus
from domain.seller_transfer.aggregate import TOPIC
from domain.seller_transfer.opening_facts import Imported

REQUIRED = ("order_id", "seller_id", "destination", "amount", "currency", "status")
OPTIONAL = (
    "amount_reversed", "stripe_transfer_id", "stripe_reversal_id", "retry_count", "next_retry_at",
    "refund_id",
    "reversal_amount", "created_at", "transfer_group", "source_transaction",
)  # fmt: skip
STATUSES = tuple(
    status
    for status in TransferStatus
    if status not in (TransferStatus.PARTIALLY_REVERSED, TransferStatus.CANCELLED)
)
UNSENT = (TransferStatus.PENDING, TransferStatus.FAILED)
MOST_RETRIES = 1_000_000
ID = re.compile(r"[!-~]{1,128}")
INTEGER = re.compile(r"[0-9]{1,16}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.*")
OF_THE_IMPORT = frozenset({"timestamp", "evidence"})
"""Fields of the fact that describe the import, not the row."""


class BadCell(Exception):
    """A cell that cannot be imported. The message is one sentence."""

    def __init__(self, column: str, value: str, expected: str) -> None:
        super().__init__(f"column {column} is {value[:60]!r}; expected {expected}.")


class Cells:
    """Cells of one row by our column names. An empty cell is an empty text. Each method parses one
    cell, or raises BadCell."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def text(self, column: str) -> str:
        return self._texts.get(column, "")

    def refuse(self, column: str, expected: str) -> BadCell:
        return BadCell(column, self.text(column), expected)

    def name(self, column: str) -> str:
        if not ID.fullmatch(self.text(column)):
            raise self.refuse(column, "1 to 128 printable ASCII characters without spaces")
        return self.text(column)

    def perhaps(self, column: str) -> str | None:
        return self.name(column) if self.text(column) else None

    def integer(
        self, column: str, least: int, most: int, what: str, usual: int | None = None
    ) -> int:
        text = self.text(column)
        if not text and usual is not None:
            return usual
        if not INTEGER.fullmatch(text) or not least <= int(text) <= most:
            raise self.refuse(column, f"{what} from {least} to {most}")
        return int(text)

    def currency(self, column: str) -> str:
        try:
            return money.currency(self.text(column))
        except BadMoney:
            raise self.refuse(column, "an ISO 4217 currency code such as EUR") from None

    def status(self, column: str) -> TransferStatus:
        if self.text(column) not in {status.value for status in STATUSES}:
            raise self.refuse(column, f"one of {', '.join(STATUSES)}")
        return TransferStatus(self.text(column))

    def instant(self, column: str) -> datetime | None:
        """Parse an instant; None when the cell is empty. UTC without a zone: look-ups at Stripe
        begin a day earlier anyway."""
        text = self.text(column)
        if not text:
            return None
        try:
            if INSTANT.fullmatch(text):
                read = datetime.fromisoformat(text.upper())
                return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise self.refuse(column, "an instant such as 2026-11-20T12:00:00Z")


def imported(cells: Cells, evidence: str, now: datetime) -> Imported:
    """Make the opening fact of a row. Raises BadCell."""
    order_id, seller_id = cells.name("order_id"), cells.name("seller_id")
    stream, refund_id, status = (
        transfer_stream(order_id, seller_id),
        cells.perhaps("refund_id"),
        cells.status("status"),
    )
    amount = cells.integer("amount", 1, money.LARGEST, "an integer in minor units")
    back = _reversed(cells, status, amount)
    reversing = status is TransferStatus.REVERSAL_PENDING
    return Imported(
        originator_id=stream,
        originator_version=1,
        originator_topic=TOPIC,
        timestamp=now,
        order_id=order_id,
        seller_id=seller_id,
        destination=cells.name("destination"),
        amount=amount,
        currency=cells.currency("currency"),
        transfer_group=cells.perhaps("transfer_group") or order_id,
        status=status.value,
        amount_reversed=back,
        evidence=evidence,
        source_transaction=cells.perhaps("source_transaction"),
        stripe_transfer_id=_stripe_transfer_id(cells, status),
        stripe_reversal_id=cells.perhaps("stripe_reversal_id"),
        retry_count=cells.integer("retry_count", 0, MOST_RETRIES, "an integer", usual=0),
        next_retry_at=_next(cells, status, now),
        reversal_id=str(reversal_name(stream, refund_id or "import")) if reversing else None,
        refund_id=refund_id,
        created_at=_created(cells, now),
        reversal_amount=_reversal_amount(cells, status, amount - back),
    )


def _reversed(cells: Cells, status: TransferStatus, amount: int) -> int:
    least = amount if status is TransferStatus.REVERSED else 0
    most = 0 if status in UNSENT else amount - (status is TransferStatus.REVERSAL_PENDING)
    what = f"for a {status} transfer of {amount} an integer in minor units"
    return cells.integer("amount_reversed", least, most, what, usual=least)


def _reversal_amount(cells: Cells, status: TransferStatus, left: int) -> int | None:
    if not cells.text("reversal_amount"):
        return None
    if status is not TransferStatus.REVERSAL_PENDING:
        raise cells.refuse("reversal_amount", f"none for a {status} transfer")
    return cells.integer("reversal_amount", 1, left, "an integer in minor units")


def _stripe_transfer_id(cells: Cells, status: TransferStatus) -> str | None:
    found = cells.perhaps("stripe_transfer_id")
    if found and status in UNSENT:
        raise cells.refuse(
            "stripe_transfer_id",
            f"none for a {status} transfer, as a transfer with a Stripe id is completed",
        )
    return found


def _created(cells: Cells, now: datetime) -> datetime | None:
    created = cells.instant("created_at")
    if created is not None and created > now:
        raise cells.refuse("created_at", "an instant in the past")
    return created


def _next(cells: Cells, status: TransferStatus, now: datetime) -> datetime | None:
    given = cells.instant("next_retry_at")
    if status is TransferStatus.REVERSAL_PENDING:
        return given or now
    if given and status not in UNSENT:
        raise cells.refuse("next_retry_at", f"none for a {status} transfer")
    return None  # an old time-out may have paid: a person decides when to send


def differing(before: Fact, fact: Imported, *, due_now: bool) -> list[str]:
    """List the fields in which a transfer's first fact differs from this row. `due_now`: the row
    has no `next_retry_at`."""
    if not isinstance(before, Imported):
        return ["its origin, as it was not imported"]
    ignored = OF_THE_IMPORT | ({"next_retry_at"} if due_now else set())
    wanted, found = vars(fact), vars(before)
    return sorted(name for name in wanted.keys() - ignored if wanted[name] != found.get(name))
