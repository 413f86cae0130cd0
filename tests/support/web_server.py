"""The ledger's web server on a free port, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from infrastructure.web.http_protocol import BoundedProtocol


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serve the application; yield its URL."""
    config = uvicorn.Config(app, http=BoundedProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)
