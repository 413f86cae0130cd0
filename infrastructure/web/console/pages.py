"""Pages about transfers, orders, refunds, disputes and sellers."""

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlencode

from starlette.responses import Response

from domain.identity import dispute_cause
from infrastructure.postgres.check_runs import CheckRuns
from infrastructure.postgres.read_side.lists import Lists, TransferFilters
from infrastructure.postgres.texts import cleaned
from infrastructure.visible_text import csv_cells
from infrastructure.web.console.actions import DONE
from infrastructure.web.console.debts import debts_of, payouts_beside
from infrastructure.web.console.ledger import Json, path_of
from infrastructure.web.console.outlook import Transfer, outlook
from infrastructure.web.console.past import changes, moment_of
from infrastructure.web.console.proof import chain_of
from infrastructure.web.console.timeline import LANES, timeline
from infrastructure.web.console.visit import Visit
from infrastructure.web.console.waterfall import divided
from infrastructure.web.pagination import cursor_at, place_of
from infrastructure.web.problems import Problem
from projections.seller_transfers import SellerTransferRow

FILTERS = (
    "status", "waiting_for", "seller_id", "order_id", "refund_id", "currency", "attempts",
    "min_amount", "error",
)  # fmt: skip
NUMBERS = ("attempts", "min_amount")
MOST_IN_CSV, PAGE, PAYOUTS = 10_000, 50, 100
RETRYABLE = ("pending", "failed", "reversal_pending", "permanently_failed")
RESOLVABLE = ("failed", "reversal_pending", "permanently_failed")
COLUMNS = (
    "transfer_id", "order_id", "seller_id", "destination", "amount", "currency", "status",
    "amount_reversed", "waiting_for", "retry_count", "next_retry_at", "last_error", "refund_id",
    "stripe_transfer_id", "stripe_reversal_id", "created_at", "updated_at",
)  # fmt: skip
TEXTS = [name for name in COLUMNS if name not in ("amount", "amount_reversed", "retry_count")]


def id_of(visit: Visit, name: str) -> str:
    """Return an id in the path."""
    return cleaned(unquote(visit.request.path_params[name]))


def done(visit: Visit) -> str:
    """Return the sentence about the action that led here."""
    return DONE.get(visit.given("done"), "")


# --- transfers ------------------------------------------------------------------------------------


def filters_of(visit: Visit) -> dict[str, str]:
    """Return the filters of transfers in the address. Raises Problem for one that names nothing: to
    leave it out would show, and retry, other transfers."""
    given = {name: visit.given(name) for name in FILTERS if visit.given(name)}
    for name, value in given.items():
        if not value.isprintable():
            raise Problem("invalid_request", f"{name} has characters that no filter may have.")
    return given


def _transfer_filters(filters: Mapping[str, str]) -> TransferFilters:
    numbers = {name: number(filters[name]) for name in NUMBERS if name in filters}
    texts = {name: value for name, value in filters.items() if name not in NUMBERS}
    return TransferFilters(**texts, **numbers)  # type: ignore[arg-type]


def number(text: str) -> int:
    """Parse a number in an address or a form. Raises Problem."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Problem("invalid_request", f"{text[:40]!r} is no number; expected digits.")
    return int(text)


async def list_transfers(visit: Visit) -> Response:
    """List transfers by the filters of the address, which can be kept as a bookmark."""
    filters, cursor = filters_of(visit), visit.given("cursor")
    page = await Lists(visit.backend.service.pool).transfers(
        _transfer_filters(filters), PAGE, place_of(cursor) if cursor else None
    )
    more = urlencode({**filters, "cursor": cursor_at(*page.next)}) if page.next else ""
    return visit.page(
        "transfers.html",
        transfers=page.rows,
        filters=filters,
        more=more,
        query=urlencode(filters),
        retry_all=visit.may_act and filters.get("status", "pending") in RETRYABLE,
    )


async def export_transfers(visit: Visit) -> Response:
    """Return the transfers of the same filters as CSV, at most `MOST_IN_CSV`."""
    lists, filters = Lists(visit.backend.service.pool), _transfer_filters(filters_of(visit))
    rows, after = list[SellerTransferRow](), None
    while len(rows) < MOST_IN_CSV:
        page = await lists.transfers(filters, 500, after)
        rows += page.rows
        after = page.next
        if after is None:
            break
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(csv_cells(row._asdict(), TEXTS) for row in rows)
    headers = {"Content-Disposition": 'attachment; filename="transfers.csv"'}
    return Response(text.getvalue(), headers=headers, media_type="text/csv")


async def show_transfer(visit: Visit) -> Response:
    """Show a transfer, now or at an earlier moment."""
    path = path_of("/v1/transfers/{transfer_id}", transfer_id=id_of(visit, "transfer_id"))
    now = await visit.ledger.get(path)
    transfer_id = now["transfer_id"]
    whole = await visit.ledger.get(
        path_of("/v1/orders/{order_id}/history", order_id=now["order_id"])
    )
    moment = moment_of(visit, whole["data"], transfer_id)
    shown = await visit.ledger.get(path, **moment.query) if moment.query else now
    entries = [entry for entry in whole["data"] if moment.knew(entry)]
    own = [entry for entry in entries if entry["stream_id"] == transfer_id]
    pauses = [] if moment.query else (await visit.ledger.get("/v1/pauses"))["data"]
    settings = visit.backend.service.settings
    known = Transfer(shown, own, moment.instant or visit.now, settings.funds_deadline)
    actions = visit.may_act and not moment.query
    return visit.page(
        "transfer.html",
        transfer=shown,
        outlook=outlook(known, pauses),
        folds=timeline(entries, transfer_id)[::-1],
        lanes=LANES,
        moment=moment,
        past=moment.query,
        looks_back=bool(moment.query or visit.given("step")),
        changes=changes(shown, now),
        retry=actions and shown["status"] in RETRYABLE,
        resolve=actions and shown["status"] in RESOLVABLE,
        done=done(visit),
        dashboard=dashboard_of(settings.mode),
        last_position=own[-1]["position"] if own else 0,
    )


def dashboard_of(mode: str) -> str:
    """Return the address of Stripe's dashboard for this mode; empty for a simulator."""
    pages = {"live": "https://dashboard.stripe.com/", "test": "https://dashboard.stripe.com/test/"}
    return pages.get(mode, "")


async def prove_transfer(visit: Visit) -> Response:
    """Show the facts of a transfer as links of the hash chain."""
    shown = await visit.ledger.get(
        path_of("/v1/transfers/{transfer_id}", transfer_id=id_of(visit, "transfer_id"))
    )
    service = visit.backend.service
    return visit.page(
        "proof.html",
        transfer=shown,
        links=await chain_of(service.store, shown["transfer_id"]),
        checks=await CheckRuns(service.pool).newest(),
    )


# --- orders, refunds, disputes --------------------------------------------------------------------


async def show_order(visit: Visit) -> Response:
    """Show an order with its refunds divided among the sellers."""
    order_id = id_of(visit, "order_id")
    order = await visit.ledger.get(path_of("/v1/orders/{order_id}", order_id=order_id))
    history = await visit.ledger.get(path_of("/v1/orders/{order_id}/history", order_id=order_id))
    return visit.page(
        "order.html",
        order=order,
        refunds=[divided(refund, order) for refund in order["refunds"]],
        unclaimed=order["amount"] - _claimed(order),
        entries=history["data"][::-1],
        act=visit.may_act and order["status"] == "paid",
        done=done(visit),
    )


def _claimed(order: Json) -> int:
    same = (one for one in order["shares"] if one["currency"] == order["currency"])
    return sum(one["amount"] for one in same)


def divided_by_dispute(dispute_id: str, order: Json) -> list[Json]:
    """Return the reversals of an order's transfers for one dispute."""
    return [
        {**one, **{name: transfer[name] for name in ("seller_id", "transfer_id", "currency")}}
        for transfer in order["transfers"]
        for one in transfer["reversals"]
        if one["refund_id"] == dispute_cause(dispute_id)
    ]


async def show_refund(visit: Visit) -> Response:
    """Show a refund with each seller's part and its reversal."""
    refund = await visit.ledger.get(
        path_of("/v1/refunds/{refund_id}", refund_id=id_of(visit, "refund_id"))
    )
    order = await visit.ledger.get(path_of("/v1/orders/{order_id}", order_id=refund["order_id"]))
    return visit.page(
        "refund.html",
        refund=divided(refund, order),
        order=order,
        unclaimed=order["amount"] - _claimed(order),
        done=done(visit),
    )


# --- sellers --------------------------------------------------------------------------------------


async def show_seller(visit: Visit) -> Response:
    """Show a seller: balances, transfers, payouts, and the statement of a month."""
    seller_id = id_of(visit, "seller_id")
    start, end = month_of(visit.given("month"), visit.now)
    period = {"from": start.isoformat(), "to": end.isoformat()}
    path = path_of("/v1/sellers/{seller_id}", seller_id=seller_id)
    balance = await visit.ledger.get(f"{path}/balance")
    pauses = await visit.ledger.get("/v1/pauses")
    payouts = (await visit.ledger.get(f"{path}/payouts", limit=PAYOUTS))["data"]
    debts = await debts_of(visit.backend.service.pool, seller_id)
    transfers = await visit.ledger.get("/v1/transfers", seller_id=seller_id, limit=20)
    scope = f"seller:{seller_id}"
    return visit.page(
        "seller.html",
        seller_id=seller_id,
        scope=scope,
        balances=balance["balances"],
        transfers=transfers,
        accounts=sorted({one["destination"] for one in transfers["data"]}),
        dashboard=dashboard_of(visit.backend.service.settings.mode),
        ages=(await Lists(visit.backend.service.pool).seller(seller_id)).money,
        debts=[(debt, payouts_beside(debt, payouts)) for debt in debts],
        payouts=payouts[:10],
        statement=await visit.ledger.get(f"{path}/statement", **period),
        month=f"{start:%Y-%m}",
        before=f"{start - timedelta(days=1):%Y-%m}",
        after=f"{end:%Y-%m}" if end <= visit.now else "",
        pause=next((one for one in pauses["data"] if one["scope"] == scope), None),
        done=done(visit),
    )


def month_of(text: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the begin and the end of a month such as `2026-11`; of the present one without a text.
    Raises Problem."""
    try:
        start = datetime.strptime(text or f"{now:%Y-%m}", "%Y-%m").replace(tzinfo=UTC)
        _ = start - timedelta(days=1)  # the page leads to the month before
        return start, (start + timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):
        raise Problem(
            "invalid_request", f"{text[:20]!r} is no month; expected one such as 2026-11."
        ) from None
