"""kill -9 at every point of a call. Each time, after a restart: once at Stripe, and the row tells it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from tests.kills.town import Town, until

THE_LEDGER = "x'6c6564676572'::bigint"
"""The lock under which facts are appended."""
PART = 400
"""Of 1,000: Stripe would take it twice, where it would refuse a whole transfer's second reversal by itself."""


async def paid(town: Town, order_id: str) -> None:
    await town.order(order_id)
    await town.pay(order_id)
    await town.reached(order_id, "completed")


async def intents(town: Town) -> int:
    row = await town.one("select count(*) from ledger_events where topic like '%%call_started' and state like '%%reversal:%%'")
    return int(row[0])


async def exactly_once(town: Town, order_id: str) -> None:
    """What must hold after every kill."""
    await town.reached(order_id, "partially_reversed")
    (transfer,) = await town.at_stripe(order_id)
    assert [reversal["amount"] for reversal in transfer["reversals"]] == [PART]
    row = await town.one("select amount, amount_reversed, stripe_reversal_id from seller_transfers where order_id = %s", order_id)
    assert row == (1_000, PART, transfer["reversals"][0]["id"])
    assert await town.stripe.violations() == []


@asynccontextmanager
async def lock(town: Town, statement: str) -> AsyncIterator[None]:
    """Held by another session until the block ends."""
    async with await psycopg.AsyncConnection.connect(town.database_url) as other:
        await other.execute(statement.encode())
        yield


async def test_before_the_intent(town: Town) -> None:
    await town.start()
    await paid(town, "o1")
    async with lock(town, "insert into pace values ('reversals.create', now())"):
        await town.refund("o1", PART)
        await town.blocked("into pace")
        assert await town.status("o1") == "reversal_pending"
        await town.kill()
        await town.cut_off()
        assert await intents(town) == 0
    assert await town.stripe.requests("reversals.create") == []
    await town.start()
    await exactly_once(town, "o1")


class Gate:
    """A way to Stripe that can be closed: connections are taken, nothing passes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.open, self.knocked = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, to_there, gated=True), self._pass(there, writer, gated=False))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, gated: bool) -> None:
        try:
            while some := await reader.read(65_536):
                if gated and not self.open.is_set():
                    self.knocked.set()
                    return  # what has come is never passed on
                writer.write(some)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def test_after_the_intent_before_anything_reaches_stripe(town: Town) -> None:
    gate = Gate(int(town.stripe.url.rsplit(":", 1)[1]))
    async with await asyncio.start_server(gate.serve, "127.0.0.1", 0) as way:
        town.environment["STRIPE_API_BASE"] = f"http://127.0.0.1:{way.sockets[0].getsockname()[1]}"
        await town.start()
        await paid(town, "o1")
        gate.open.clear()
        await town.refund("o1", PART)
        await asyncio.wait_for(gate.knocked.wait(), 20)
        await town.kill()
        assert await intents(town) == 1
        assert await town.stripe.requests("reversals.create") == []
        gate.open.set()
        await town.start()
        await exactly_once(town, "o1")


@pytest.mark.parametrize("then", ["abandon", "execute"])
async def test_during_the_call(town: Town, then: str) -> None:
    await town.start()
    await paid(town, "o1")
    await town.stripe.hold("reversals.create", "before_commit", on_disconnect=then)
    await town.refund("o1", PART)
    await town.stripe.wait_until_held("reversals.create")
    await town.kill()
    await town.start()
    await exactly_once(town, "o1")


async def test_after_stripes_commit_before_the_answer(town: Town) -> None:
    await town.start()
    await paid(town, "o1")
    await town.stripe.hold("reversals.create", "after_commit", on_disconnect="execute")
    await town.refund("o1", PART)
    await town.stripe.wait_until_held("reversals.create")
    assert len((await town.at_stripe("o1"))[0]["reversals"]) == 1
    await town.kill()
    await town.stripe.release("reversals.create")
    await town.start()
    await exactly_once(town, "o1")


async def test_after_the_answer_before_the_outcome_is_stored(town: Town) -> None:
    await town.start()
    await paid(town, "o1")
    await town.stripe.hold("reversals.create", "before_commit")
    await town.refund("o1", PART)
    await town.stripe.wait_until_held("reversals.create")
    async with lock(town, f"select pg_advisory_xact_lock({THE_LEDGER})"):
        await town.stripe.release("reversals.create")
        await town.blocked("ledger_append")
        assert len((await town.at_stripe("o1"))[0]["reversals"]) == 1
        await town.kill()
        await town.cut_off()
    assert await town.status("o1") == "reversal_pending"
    await town.start()
    await exactly_once(town, "o1")


async def test_a_transfer_whose_answer_was_lost_is_paid_once(town: Town) -> None:
    await town.start()
    await town.order("o1")
    await town.stripe.hold("transfers.create", "after_commit", on_disconnect="execute")
    await town.pay("o1")
    await town.stripe.wait_until_held("transfers.create")
    await town.kill()
    await town.stripe.release("transfers.create")
    await town.start()
    await town.reached("o1", "completed")
    (transfer,) = await town.at_stripe("o1")
    row = await town.one("select stripe_transfer_id from seller_transfers where order_id = 'o1'")
    assert row == (transfer["id"],)


async def test_sigterm_records_the_call_in_flight_and_ends_with_0(town: Town) -> None:
    await town.start()
    await paid(town, "o1")
    await town.stripe.hold("reversals.create", "after_commit")
    await town.refund("o1", PART)
    await town.stripe.wait_until_held("reversals.create")
    ending = asyncio.create_task(town.terminate())

    async def closed() -> bool:
        return "draining" in town.log.read_text()

    await until(closed, "the ledger to drain")
    await town.stripe.release("reversals.create")
    assert await ending == 0
    await exactly_once(town, "o1")


async def test_the_work_of_a_killed_process_is_taken_over_by_another(town: Town) -> None:
    await town.start()
    await paid(town, "o1")
    await town.stripe.hold("reversals.create", "after_commit", on_disconnect="execute")
    await town.refund("o1", PART)
    await town.stripe.wait_until_held("reversals.create")
    killed = town.process
    assert killed is not None
    await town.start("worker")
    killed.kill()
    await killed.wait()
    await town.stripe.release("reversals.create")
    await exactly_once(town, "o1")
