"""Baseline of the webhook measurement: a minimal handler that checks the signature, inserts one
row, commits and answers."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from infrastructure.hyperswitch.signature import HEADER, verify
from infrastructure.postgres.connections import new_pool

TABLE = (
    "create table if not exists bare_webhooks (id bigint generated always as identity primary "
    "key, body bytea not null)"
)

pool = new_pool(os.environ.get("DATABASE_URL", ""), max_size=10)
secret = os.environ.get("HYPERSWITCH_WEBHOOK_SECRETS", "")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Open the pool, and create the table."""
    async with pool:
        async with pool.connection() as connection:
            await connection.execute(TABLE)
        yield


async def receive(request: Request) -> JSONResponse:
    """Store a webhook."""
    body = await request.body()
    verify(body, request.headers.get(HEADER), [secret])
    async with pool.connection() as connection:
        await connection.execute("insert into bare_webhooks (body) values (%s)", (body,))
    return JSONResponse({"received": True})


app = Starlette(
    routes=[Route("/webhooks/hyperswitch", receive, methods=["POST"])], lifespan=lifespan
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["LEDGER_PORT"]), access_log=False, log_level="warning")
