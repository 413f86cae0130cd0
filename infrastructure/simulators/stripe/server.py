"""The simulated Stripe as an application, and as an HTTP server inside the running event loop."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette

from infrastructure.simulators.common.app import simulator_app
from infrastructure.simulators.common.http_server import LoopbackServer, serve
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.control_client import SimulatorControl
from infrastructure.simulators.stripe.control_routes import CONTROLS
from infrastructure.simulators.stripe.exchange import StripeExchange
from infrastructure.simulators.stripe.operations import OPERATIONS
from infrastructure.simulators.stripe.payments import StripeConnector
from infrastructure.simulators.stripe.world import StripeWorld


def create_simulator(config: SimulatorConfig | None = None) -> Starlette:
    """Create a simulated Stripe. `app.state.world` is its state, for tests that run in the same
    process.

    The app can be called as a function: a request without faults neither sleeps nor opens a socket,
    and its time is `config.clock`. Without `serve_simulator` there is no connection to cut, so
    connection faults raise ConnectionResetError. A client that gives up must leave its request
    running, as Stripe would: cancelling the task of the request takes its effect away.
    """
    return simulator_app(
        StripeWorld(config or SimulatorConfig()), OPERATIONS, StripeExchange, CONTROLS
    )


class RunningSimulator(LoopbackServer):
    """A simulated Stripe that listens on `url`."""

    def __init__(self, app: Starlette, sock: socket.socket) -> None:
        super().__init__(app, sock)
        self.world: StripeWorld = app.state.world

    def connector(self) -> StripeConnector:
        """Return this Stripe as the connector of a simulated PSP in the same process."""
        return StripeConnector(self.world)

    def control(self) -> SimulatorControl:
        """Return a client of the control routes. Close the client, or use it as an asynchronous
        context manager."""
        return SimulatorControl(self.url)


async def serve_simulator(
    config: SimulatorConfig | None = None, host: str = "127.0.0.1", port: int = 0
) -> RunningSimulator:
    """Start a simulated Stripe. Port 0 takes a free one. Raises ValueError for a host off
    loopback."""
    return await serve(RunningSimulator, partial(create_simulator, config), host, port)


@asynccontextmanager
async def running_simulator(
    config: SimulatorConfig | None = None, port: int = 0
) -> AsyncIterator[tuple[RunningSimulator, SimulatorControl]]:
    """Run a simulated Stripe and its control client for the length of an `async with` block."""
    async with (
        await serve_simulator(config, port=port) as simulator,
        simulator.control() as control,
    ):
        yield simulator, control
