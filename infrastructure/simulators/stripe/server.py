"""Serving the simulator over real HTTP, inside the running event loop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from infrastructure.simulators.common.http_server import LoopbackServer, loopback_socket
from infrastructure.simulators.stripe.app import create_simulator
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.control_client import SimulatorControl
from infrastructure.simulators.stripe.world import World


class RunningSimulator(LoopbackServer):
    """A simulated Stripe that listens on `url`."""

    def __init__(self, app: Starlette, sock: socket.socket) -> None:
        self.world: World = app.state.world
        super().__init__(app, sock, self.world.shut)

    def control(self) -> SimulatorControl:
        """A client of the control routes; close it, or use it as an asynchronous context manager."""
        return SimulatorControl(self.url)


async def serve_simulator(config: SimulatorConfig | None = None, host: str = "127.0.0.1", port: int = 0) -> RunningSimulator:
    """Start a simulator in the running loop. Port 0 takes a free one.

    Raises ValueError for a host that is not loopback: whoever reaches the simulator can do everything with it.
    """
    sock = loopback_socket(host, port)
    try:
        running = RunningSimulator(create_simulator(config), sock)
    except BaseException:
        sock.close()
        raise
    await running.start()
    return running


@asynccontextmanager
async def running_simulator(
    config: SimulatorConfig | None = None, port: int = 0
) -> AsyncIterator[tuple[RunningSimulator, SimulatorControl]]:
    """A simulator and its control for the length of a `async with` block."""
    async with await serve_simulator(config, port=port) as simulator, simulator.control() as control:
        yield simulator, control
