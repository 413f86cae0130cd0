"""Serving the simulated Hyperswitch over real HTTP, inside the running event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infrastructure.simulators.common.http_server import LoopbackServer, loopback_socket
from infrastructure.simulators.hyperswitch.app import create_simulator
from infrastructure.simulators.hyperswitch.config import HyperswitchConfig
from infrastructure.simulators.hyperswitch.control import HyperswitchControl


async def serve_hyperswitch(config: HyperswitchConfig | None = None, host: str = "127.0.0.1", port: int = 0) -> LoopbackServer:
    """Start a simulated Hyperswitch in the running loop. Port 0 takes a free one. Raises ValueError off loopback."""
    app = create_simulator(config)
    running = LoopbackServer(app, loopback_socket(host, port), app.state.world.shut)
    await running.start()
    return running


@asynccontextmanager
async def running_hyperswitch(
    config: HyperswitchConfig | None = None, port: int = 0
) -> AsyncIterator[tuple[LoopbackServer, HyperswitchControl]]:
    """A simulated Hyperswitch and its control for the length of an `async with` block."""
    async with await serve_hyperswitch(config, port=port) as simulator, HyperswitchControl(simulator.url) as control:
        yield simulator, control
