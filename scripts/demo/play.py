"""Plays the scenes, prints each transfer's history, and compares the books at the end."""

import asyncio
import time

from rich.console import Console
from rich.table import Table

from scripts.demo.books import Net, compare, twice
from scripts.demo.scenes import SCENES, Scene
from scripts.demo.stage import DemoFailed, Json, Stage


def play() -> int:
    """The exit code: 0 only if Stripe's books equal ours and every scene ended as promised."""
    console = Console(highlight=False)
    try:
        return asyncio.run(_play(console))
    except DemoFailed as failed:
        console.print(f"[red]✗ {failed}[/red]")
        return 1


async def _play(console: Console) -> int:
    began = time.monotonic()
    console.print(
        "Stripe and Hyperswitch are built-in [bold]simulators[/bold]: no money moves. PostgreSQL, HTTP, processes are real."
    )
    async with Stage() as stage:
        for number, scene in enumerate(SCENES, 1):
            await _perform(console, stage, number, scene)
        ours, stripes = await stage.all_transfers(), await stage.control.ledger()
        verdict = _show_books(console, compare(stripes, ours), twice(stripes), await stage.control.violations())
        if await stage.stop() != 0:
            raise DemoFailed("The ledger did not end well on SIGTERM.")
    console.print(f"{len(SCENES)} scenes in {time.monotonic() - began:.1f} s.")
    return verdict


async def _perform(console: Console, stage: Stage, number: int, scene: Scene) -> None:
    console.print(f"\n[bold]{number}. {scene.title}[/bold]")
    for row in await scene.perform(stage):
        _show_history(console, row, await stage.history(row["transfer_id"]))


def _show_history(console: Console, row: Json, facts: list[Json]) -> None:
    console.print(f"   {row['seller_id']}, order {row['order_id']}: {row['status']}")
    for fact in facts:
        console.print(f"   [dim]{fact['position']:>4} {fact['at'][11:23]}[/dim]  {fact['sentence']}", soft_wrap=True)


def _show_books(console: Console, nets: list[Net], doubled: list[str], violations: list[str]) -> int:
    table = Table(title="\nMinor units of EUR per seller")
    for heading in ("seller", "sent: Stripe", "sent: ours", "back: Stripe", "back: ours", ""):
        table.add_column(heading, justify="left" if heading == "seller" else "right")
    for net in nets:
        table.add_row(*map(str, net), "✓" if net.agrees else "✗")
    console.print(table)
    wrong = [net.seller for net in nets if not net.agrees] + doubled + violations
    if wrong:
        console.print(f"[red]✗ The books differ: {', '.join(wrong)}[/red]")
        return 1
    console.print("[green]✓ Stripe's books equal ours, to the cent; nothing was sent twice.[/green]")
    return 0
