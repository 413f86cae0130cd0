"""The simulated Hyperswitch as an HTTP server inside the running event loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette

from infrastructure.simulators.common.app import simulator_app
from infrastructure.simulators.common.http_server import LoopbackServer, serve
from infrastructure.simulators.hyperswitch.config import HyperswitchConfig
from infrastructure.simulators.hyperswitch.control_client import HyperswitchControl
from infrastructure.simulators.hyperswitch.control_routes import CONTROLS
from infrastructure.simulators.hyperswitch.exchange import PspExchange
from infrastructure.simulators.hyperswitch.operations import OPERATIONS
from infrastructure.simulators.hyperswitch.world import PspWorld


def create_hyperswitch(config: HyperswitchConfig | None = None) -> Starlette:
    """Create a simulated Hyperswitch. `app.state.world` is its state, for programs that run in the
    same process."""
    return simulator_app(PspWorld(config or HyperswitchConfig()), OPERATIONS, PspExchange, CONTROLS)


async def serve_hyperswitch(
    config: HyperswitchConfig | None = None, host: str = "127.0.0.1", port: int = 0
) -> LoopbackServer:
    """Start a simulated Hyperswitch. Port 0 takes a free one. Raises ValueError for a host off
    loopback."""

    return await serve(LoopbackServer, partial(create_hyperswitch, config), host, port)


@asynccontextmanager
async def running_hyperswitch(
    config: HyperswitchConfig | None = None, port: int = 0
) -> AsyncIterator[tuple[LoopbackServer, HyperswitchControl]]:
    """Run a simulated Hyperswitch and its control client for the length of an `async with`
    block."""
    async with (
        await serve_hyperswitch(config, port=port) as simulator,
        HyperswitchControl(simulator.url) as control,
    ):
        yield simulator, control
