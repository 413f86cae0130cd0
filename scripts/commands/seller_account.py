"""Command `seller-account`: a seller who has moved to another account at Stripe."""

from typing import Annotated

import typer

from infrastructure.bootstrap import stored
from scripts.commands.command import command, new_app
from scripts.commands.options import Actor, AsJson, Reason, read_settings, require_text
from scripts.commands.output import print_json
from scripts.exit_codes import fail

app = new_app()


@command(
    app,
    "transfer-ledger seller-account s_17 --destination acct_new --actor mia --reason 'ticket 7'",
    "seller-account",
)
async def seller_account(
    seller: Annotated[str, typer.Argument(metavar="SELLER", help="The seller_id.")],
    destination: Annotated[str, typer.Option(help="The new account at Stripe, acct_….")],
    actor: Actor,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Pay a seller to another account from now on. Unsent transfers and later compensations go
    there; paid transfers stay."""
    require_text(actor=actor, reason=reason)
    for name, value in (("SELLER", seller), ("--destination", destination)):
        _require_id(name, value)
    async with stored(read_settings()) as storage:
        moved = await storage.commands.seller_accounts.move(seller, destination, actor, reason)
    if as_json:
        print_json([moved._asdict()])
        return
    typer.echo(f"Seller {seller} is paid to {destination}; unsent transfers: {moved.redirected}.")
    if moved.in_call:
        typer.echo(
            f"{moved.in_call} more have an open call, whose outcome comes first; run the command "
            "again after it."
        )


def _require_id(name: str, value: str) -> None:
    if not (0 < len(value) <= 128 and value.isascii() and value.isprintable() and " " not in value):
        fail(f"{name} is {value!r}; expected 1 to 128 printable ASCII characters without spaces.")
