"""Command `simulate`: the simulators of Stripe and of Hyperswitch as one process."""

import asyncio
import signal
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer
import uvicorn

from infrastructure.simulators.builtin import REFUNDED_AFTER
from infrastructure.simulators.common.http_server import LoopbackServer
from infrastructure.simulators.hyperswitch import Behaviour, HyperswitchConfig, serve_hyperswitch
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.manners import manners_named
from infrastructure.simulators.stripe.server import serve_simulator
from scripts.commands.command import command, new_app
from scripts.commands.output import print_line
from scripts.exit_codes import fail

app = new_app()
Server = TypeVar("Server", bound=LoopbackServer)


@command(app, "transfer-ledger simulate --stripe-port 12111 --endpoint-rate 25 --latency recorded")
def simulate(
    stripe_port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 takes a free port.")
    ] = 12111,
    hyperswitch_port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 takes a free port.")
    ] = 12112,
    state: Annotated[
        Path | None,
        typer.Option(help="File that keeps the Stripe simulator's state over a restart."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other ids.")] = 1,
    endpoint_rate: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help=(
                "Requests per second on each endpoint, else 429; Stripe's own limit: 25. Unset: "
                "no limit."
            ),
        ),
    ] = None,
    latency: Annotated[
        Literal["none", "recorded"],
        typer.Option(help="recorded: each request takes as long as one to real Stripe, about 1 s."),
    ] = "none",
    manners: Annotated[
        Literal["live", "kind"],
        typer.Option(help="kind: the platform owns money, and no money is pending or paid out."),
    ] = "live",
    pending_days: Annotated[
        float | None, typer.Option(min=0, help="Days until card money is available; live: 2.")
    ] = None,
) -> None:
    """Run the simulators of Stripe and of Hyperswitch on loopback; `GET /_sim` lists the routes
    that control each."""
    config = SimulatorConfig(
        seed=seed,
        state_file=state,
        endpoint_rate=endpoint_rate,
        latency=latency,
        manners=manners_named(manners, pending_days),
    )
    loop = uvicorn.Config("unused", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_serve(config, stripe_port, hyperswitch_port))


async def _serve(config: SimulatorConfig, stripe_port: int, hyperswitch_port: int) -> None:
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    async with AsyncExitStack() as stack:
        stripe = await stack.enter_async_context(
            await _listening(
                serve_simulator(config, port=stripe_port), stripe_port, "--stripe-port"
            )
        )
        psp_config = HyperswitchConfig(
            seed=config.seed,
            refunds=Behaviour("succeeded", REFUNDED_AFTER),
            connector=stripe.connector(),
        )
        psp = await stack.enter_async_context(
            await _listening(
                serve_hyperswitch(psp_config, port=hyperswitch_port),
                hyperswitch_port,
                "--hyperswitch-port",
            )
        )
        print_line(f"Stripe simulator on {stripe.url}; set STRIPE_API_BASE={stripe.url}")
        print_line(
            f"Hyperswitch simulator on {psp.url}; set HYPERSWITCH_BASE_URL={psp.url} "
            "HYPERSWITCH_API_KEY=snd_simulator"
        )
        print_line(
            "Start the delivery of its webhooks with: curl -H Content-Type:application/json "
            f'-d \'{{"url":"http://127.0.0.1:8000/webhooks/hyperswitch","secret":"…"}}\' '
            f"{psp.url}/_sim/webhook"
        )
        await stopping.wait()


async def _listening(start: Awaitable[Server], port: int, option: str) -> Server:
    try:
        return await start
    except OSError as error:
        fail(f"Cannot listen on 127.0.0.1:{port} ({error.strerror}); choose another {option}.")
