"""`transfer-ledger simulate`: the Stripe simulator as a process."""

import asyncio
import signal

import typer
import uvicorn

from infrastructure.stripe.simulator.config import SimulatorConfig
from infrastructure.stripe.simulator.server import serve_simulator
from scripts.exits import fail


def simulate(port: int, config: SimulatorConfig) -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    loop = uvicorn.Config("unused", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop) as runner:
        try:
            runner.run(_serve(config, port))
        except OSError as error:
            fail(f"Cannot listen on 127.0.0.1:{port} ({error.strerror}); choose another --stripe-port.")


async def _serve(config: SimulatorConfig, port: int) -> None:
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    async with await serve_simulator(config, port=port) as simulator:
        typer.echo(f"Stripe simulator on {simulator.url}; use it with STRIPE_API_BASE={simulator.url}")
        await stopping.wait()
