"""`transfer-ledger simulate`: the simulators of Stripe and of Hyperswitch as one process."""

import asyncio
import signal
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import TypeVar

import typer
import uvicorn

from infrastructure.simulators.builtin import REFUNDED_AFTER
from infrastructure.simulators.common.http_server import LoopbackServer
from infrastructure.simulators.hyperswitch import Behaviour, HyperswitchConfig, serve_hyperswitch
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.server import serve_simulator
from scripts.exit_codes import fail

Server = TypeVar("Server", bound=LoopbackServer)


def simulate(stripe_port: int, hyperswitch_port: int, config: SimulatorConfig) -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    loop = uvicorn.Config("unused", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_serve(config, stripe_port, hyperswitch_port))


async def _serve(config: SimulatorConfig, stripe_port: int, hyperswitch_port: int) -> None:
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    psp_config = HyperswitchConfig(seed=config.seed, refunds=Behaviour("succeeded", REFUNDED_AFTER))
    async with AsyncExitStack() as stack:
        stripe = await stack.enter_async_context(
            await _listening(serve_simulator(config, port=stripe_port), stripe_port, "--stripe-port")
        )
        psp = await stack.enter_async_context(
            await _listening(serve_hyperswitch(psp_config, port=hyperswitch_port), hyperswitch_port, "--hyperswitch-port")
        )
        typer.echo(f"Stripe simulator on {stripe.url}; use it with STRIPE_API_BASE={stripe.url}")
        typer.echo(
            f"Hyperswitch simulator on {psp.url}; use it with HYPERSWITCH_BASE_URL={psp.url} HYPERSWITCH_API_KEY=snd_simulator"
        )
        typer.echo(
            "Have its webhooks delivered with: curl -H Content-Type:application/json "
            f'-d \'{{"url":"http://127.0.0.1:8000/webhooks/hyperswitch","secret":"…"}}\' {psp.url}/_sim/webhook'
        )
        await stopping.wait()


async def _listening(start: Awaitable[Server], port: int, option: str) -> Server:
    try:
        return await start
    except OSError as error:
        fail(f"Cannot listen on 127.0.0.1:{port} ({error.strerror}); choose another {option}.")
