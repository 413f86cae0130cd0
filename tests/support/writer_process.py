"""A process that appends 400 facts of its own, and 100 that another such process appends as well;
prints the result."""

import asyncio
import json
import sys
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from domain.errors import Conflict
from infrastructure.postgres.connections import new_pool
from infrastructure.postgres.event_store import EventStore, StoredFact


async def main(database_url: str) -> dict[str, int]:
    streams = [uuid4() for _ in range(400)] + [uuid5(NAMESPACE_URL, str(n)) for n in range(100)]
    async with new_pool(database_url) as pool:
        store = EventStore(database_url, pool)
        await store.start()
        try:
            answers = await asyncio.gather(*(append(store, stream) for stream in streams))
        finally:
            await store.aclose()
    return {"stored": answers.count(True), "conflicts": answers.count(False)}


async def append(store: EventStore, stream: UUID) -> bool:
    try:
        await store.append([StoredFact(stream, 1, "test.happened", b"{}")])
    except Conflict:
        return False
    return True


print(json.dumps(asyncio.run(main(sys.argv[1]))))  # noqa: T201
