"""The real PSP gateway on the simulated Hyperswitch, without a socket and with virtual time between
them."""

import aiohttp
import httpx

from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.simulation.network import TIMEOUT, Exchange, NewNetwork, VirtualNetwork
from infrastructure.simulators.hyperswitch.config import HyperswitchConfig
from infrastructure.simulators.hyperswitch.server import create_hyperswitch
from infrastructure.simulators.hyperswitch.world import PspWorld

KEY, URL = "snd_virtual", "http://psp.virtual"


class InProcessTransport(httpx.AsyncBaseTransport):
    """Transport of httpx that calls the simulator in this process."""

    def __init__(self, network: VirtualNetwork) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises httpx.TransportError, caused by the fault on the way."""
        exchange = Exchange(
            request.method, str(request.url), request.headers, await request.aread()
        )
        try:
            body, status, headers = await self._network.send(exchange, TIMEOUT)
        except (OSError, aiohttp.ClientError) as error:
            raise httpx.ReadError(f"no answer: {error}") from error
        return httpx.Response(status, headers=dict(headers), stream=httpx.ByteStream(body))


class VirtualPsp:
    """One Hyperswitch for a whole fleet: its world, its network, and gateways to it."""

    def __init__(self, config: HyperswitchConfig, network: NewNetwork = VirtualNetwork) -> None:
        app = create_hyperswitch(config)
        self.world: PspWorld = app.state.world
        self._network = network(app, f"psp {config.seed}")
        self.network = self._network.conditions

    def gateway(self) -> HyperswitchGateway:
        return HyperswitchGateway(KEY, URL, TIMEOUT, transport=InProcessTransport(self._network))
