"""Command `acknowledge`."""

from typing import Annotated

import typer

from infrastructure.bootstrap import stored
from scripts.commands.command import command, new_app
from scripts.commands.options import Actor, AsJson, Reason, read_settings, require_text
from scripts.commands.output import print_json, print_line

Kind = Annotated[str, typer.Argument(help="The alarm's kind, such as drift.")]
Subject = Annotated[str, typer.Argument(help="The alarm's subject, as `alarms` shows it.")]
Times = Annotated[
    int | None,
    typer.Option(min=1, help="The times that `alarms` showed; refuse an alarm raised again since."),
]

app = new_app()


@command(
    app,
    "transfer-ledger acknowledge drift 6f0b3f0e-… --actor mia --reason 'settled by bank, ticket 7'",
)
async def acknowledge(
    kind: Kind,
    subject: Subject,
    actor: Actor,
    reason: Reason,
    times: Times = None,
    as_json: AsJson = False,
) -> None:
    """End an alarm that has no end of its own, once it is dealt with. No money moves."""
    require_text(actor=actor, reason=reason)
    async with stored(read_settings(), writes=True) as storage:
        news = await storage.commands.alarms.acknowledge(kind, subject, actor, reason, times)
    if as_json:
        print_json([{"kind": kind, "subject": subject, "news": news}])
        return
    print_line(f"The alarm {kind} of {subject} {'has ended' if news else 'had ended before'}.")
