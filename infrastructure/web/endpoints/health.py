"""Health, readiness, metrics, and the OpenAPI document."""

import psycopg
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from infrastructure.postgres.migration_files import read_migrations
from infrastructure.redaction import hide
from infrastructure.web.operation import ApiCall, Backend, Reply
from infrastructure.web.problems import Problem
from infrastructure.web.requests import Parameters
from infrastructure.web.responses import Alive, Ready

NEWEST = read_migrations()[-1].version
"""The newest migration of this release."""

Watch = ApiCall[None, Parameters]


async def tell_health(call: Watch) -> Reply:
    return Reply(200, Alive("alive"))


async def tell_readiness(call: Watch) -> Reply:
    reasons = [hide(one) for one in await call.service.ready() or await _behind(call.backend)]
    if reasons:
        raise Problem("not_ready", f"Not ready: {'; '.join(reasons)}.", more={"reasons": reasons})
    return Reply(200, Ready(True))


async def _behind(backend: Backend) -> list[str]:
    """Report a schema that is older than this release; a migration may have been taken back
    meanwhile."""
    try:
        version = await backend.reads.schema_version()
    except psycopg.Error as error:
        return [f"the schema cannot be read: {' '.join(str(error).split())}"]
    return (
        [f"the schema is at version {version}, expected {NEWEST}: run migrate up"]
        if version < NEWEST
        else []
    )


async def expose_metrics(call: Watch) -> Response:
    text = await call.backend.metrics.exposition()
    return Response(text, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})


async def describe(call: Watch) -> Response:
    return Response(call.backend.document, media_type="application/json")
