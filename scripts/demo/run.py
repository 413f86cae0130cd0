"""Run of the demo: executes the scenarios, prints each transfer's history, and compares the records
at the end."""

import asyncio
import time

from rich.console import Console
from rich.table import Table

from scripts.demo.scenarios import SCENARIOS, Scenario
from scripts.demo.service_under_test import DemoFailed, Json, ServiceUnderTest
from scripts.demo.totals import SellerTotals, duplicates, totals_by_seller


def run_demo() -> int:
    """Return the exit code: 0 only if Stripe's records equal ours and every scenario ended as
    expected."""
    console = Console(highlight=False)
    try:
        return asyncio.run(_run(console))
    except DemoFailed as failed:
        console.print(f"[red]✗ {failed}[/red]")
        return 1


async def _run(console: Console) -> int:
    began = time.monotonic()
    console.print(
        "Stripe and Hyperswitch are built-in [bold]simulators[/bold]: no money moves. "
        "PostgreSQL, HTTP and processes are real."
    )
    async with ServiceUnderTest() as service:
        for number, scenario in enumerate(SCENARIOS, 1):
            await _execute(console, service, number, scenario)
        ours, stripe = await service.all_transfers(), await service.control.ledger()
        code = _show_totals(
            console,
            totals_by_seller(stripe, ours),
            duplicates(stripe),
            await service.control.violations(),
        )
        if await service.stop() != 0:
            raise DemoFailed("The ledger did not end with exit code 0 after SIGTERM.")
    console.print(f"{len(SCENARIOS)} scenarios in {time.monotonic() - began:.1f} s.")
    return code


async def _execute(
    console: Console, service: ServiceUnderTest, number: int, scenario: Scenario
) -> None:
    console.print(f"\n[bold]{number}. {scenario.title}[/bold]")
    for row in await scenario.execute(service):
        _show_history(console, row, await service.history(row["transfer_id"]))


def _show_history(console: Console, row: Json, facts: list[Json]) -> None:
    console.print(f"   {row['seller_id']}, order {row['order_id']}: {row['status']}")
    for fact in facts:
        console.print(
            f"   [dim]{fact['position']:>4} {fact['at'][11:23]}[/dim]  {fact['sentence']}",
            soft_wrap=True,
        )


def _show_totals(
    console: Console, totals: list[SellerTotals], doubled: list[str], violations: list[str]
) -> int:
    table = Table(title="\nMinor units of EUR per seller")
    for heading in (
        "seller",
        "sent: Stripe",
        "sent: ours",
        "reversed: Stripe",
        "reversed: ours",
        "",
    ):
        table.add_column(heading, justify="left" if heading == "seller" else "right")
    for seller in totals:
        table.add_row(*map(str, seller), "✓" if seller.agrees else "✗")
    console.print(table)
    wrong = [one.seller for one in totals if not one.agrees] + doubled + violations
    if wrong:
        console.print(f"[red]✗ Stripe's records and ours differ: {', '.join(wrong)}[/red]")
        return 1
    console.print(
        "[green]✓ Stripe's records equal ours, to the cent; nothing was sent twice.[/green]"
    )
    return 0
