"""Commands of an operator: `retry`, `resolve`, `read-charge`, `pause` and `resume`."""

from typing import Annotated

import typer

from domain.lifecycle import TransferStatus
from domain.pause import EVERYTHING, KINDS, LOOK_UP_FIRST, scope_of_seller, scope_of_work
from infrastructure.bootstrap import running, stored
from projections.sentences.pause import named
from scripts.commands.command import command, new_app
from scripts.commands.named_transfer import transfer_named
from scripts.commands.options import (
    Actor,
    AsJson,
    Reason,
    TransferName,
    read_settings,
    require_one_of,
    require_text,
)
from scripts.commands.output import print_result
from scripts.exit_codes import fail

Seller = Annotated[str | None, typer.Option(help="Only work for this seller_id.")]
KindOfWork = Annotated[
    str | None,
    typer.Option("--work", help="Only this work: transferring, reversing, refunding or funding."),
]

STUCK = (TransferStatus.PERMANENTLY_FAILED,)
UNSENT_OR_STUCK = (
    *STUCK,
    TransferStatus.PENDING,
    TransferStatus.FAILED,
    TransferStatus.REVERSAL_PENDING,
)
"""Statuses whose transfers can be tried again."""

app = new_app()


@command(app, "transfer-ledger retry 6f0b3f0e-… --actor mia --reason 'account is ready'")
async def retry(
    transfer_id: TransferName, actor: Actor, reason: Reason, as_json: AsJson = False
) -> None:
    """Make a transfer due now; reopens `permanently_failed` and ends a payment hold. A running
    worker sends it."""
    require_text(actor=actor, reason=reason)
    async with stored(read_settings(), writes=True) as storage:
        found = await transfer_named(storage, transfer_id, UNSENT_OR_STUCK)
        await storage.commands.operator.retry(found, actor, reason)
    sentence = f"Transfer {found} is due now; a running worker sends it."
    print_result(as_json, {"transfer_id": str(found), "due": True}, sentence)


@command(
    app,
    "transfer-ledger resolve 6f0b3f0e-… --actor mia --reason 'paid by bank' --evidence 'ticket "
    "4711'",
)
async def resolve(
    transfer_id: TransferName,
    actor: Actor,
    reason: Reason,
    evidence: Annotated[
        str,
        typer.Option(
            help=(
                "A Stripe object (tr_…, trr_…), which is read at Stripe first, or a reference "
                "such as a ticket."
            )
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Record the end of a permanently failed or held transfer. Nothing is sent; a Stripe object is
    recorded if it fits."""
    require_text(actor=actor, reason=reason, evidence=evidence)
    async with running(read_settings(), loops=False, writes=True) as service:
        found = await transfer_named(service, transfer_id, STUCK)
        await service.commands.operator.resolve(service.gateway, found, actor, reason, evidence)
    row = {"transfer_id": str(found), "resolved": True}
    print_result(as_json, row, f"Transfer {found} is resolved.")


@command(
    app,
    "transfer-ledger read-charge o_17 --actor mia --reason 'the key may read payments now'",
    name="read-charge",
)
async def read_charge(
    order_id: Annotated[str, typer.Argument(help="The order's id.")],
    actor: Actor,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Read the charge of a paid order at Stripe again. A running worker reads it, and sends unsent
    transfers from it."""
    require_text(actor=actor, reason=reason)
    async with stored(read_settings()) as storage:
        await storage.commands.orders.read_charge(order_id, actor, reason)
    sentence = f"The charge of order {order_id} is read again; a running worker reads it."
    print_result(as_json, {"order_id": order_id, "due": True}, sentence)


@command(app, "transfer-ledger pause --seller s_17 --actor mia --reason 'account under review'")
async def pause(
    actor: Actor,
    reason: Reason,
    seller: Seller = None,
    work: KindOfWork = None,
    as_json: AsJson = False,
) -> None:
    """Stop sending to Stripe and to the PSP: everything, one kind of work, or the work for one
    seller.

    Calls that have begun are finished and recorded. Webhooks are still received and handled.
    """
    require_text(actor=actor, reason=reason)
    scope = _scope(seller, work)
    async with stored(read_settings(), writes=True) as storage:
        new = await storage.commands.operator.pause(scope, actor, reason)
    row = {"scope": scope, "paused": True, "changed": new}
    ends = f"{scope} is paused; `transfer-ledger resume` ends it."
    print_result(as_json, row, ends if new else f"{scope} was paused already.")


@command(app, "transfer-ledger resume --seller s_17 --actor mia --reason 'account is fine'")
async def resume(
    actor: Actor,
    reason: Reason,
    seller: Seller = None,
    work: KindOfWork = None,
    look_up_first: Annotated[
        bool,
        typer.Option(
            "--look-up-first",
            help="Stop requiring a look-up at Stripe before each send (ends --look-up-first).",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """End a pause."""
    require_text(actor=actor, reason=reason)
    scope = _scope(seller, work, look_up_first)
    async with stored(read_settings(), writes=True) as storage:
        new = await storage.commands.operator.resume(scope, actor, reason)
    done, nothing = f"Resumed: {named(scope)}.", "Nothing was paused there, so nothing changed."
    if look_up_first:
        done = "The ledger no longer looks each call up at Stripe before it sends."
        nothing = "No look-up before each send was required, so nothing changed."
    row = {"scope": scope, "paused": False, "changed": new}
    print_result(as_json, row, done if new else nothing)


def _scope(seller: str | None, work: str | None, look_up_first: bool = False) -> str:
    """Return the scope that the options name; without any, everything."""
    if sum((seller is not None, work is not None, look_up_first)) > 1:
        fail(
            "Several scopes are given; expected one of --seller, --work and --look-up-first, or "
            "none for everything."
        )
    require_one_of("--work", work, tuple(KINDS))
    if seller is not None:
        if not (
            0 < len(seller) <= 128
            and seller.isascii()
            and seller.isprintable()
            and " " not in seller
        ):
            fail(
                f"--seller is {seller!r}; expected 1 to 128 printable ASCII characters without "
                "spaces."
            )
        return scope_of_seller(seller)
    if work is not None:
        return scope_of_work(work)
    return LOOK_UP_FIRST if look_up_first else EVERYTHING
