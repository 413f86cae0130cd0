"""Stories of orders, which lead a ledger through all steps of the paths that move money."""

from collections.abc import Awaitable, Callable

from domain.pause import LOOK_UP_FIRST
from domain.seller_transfer.opening_facts import LONG_AGO
from infrastructure.hyperswitch.signature import HEADER, sign
from tests.support.crash_world import STRIPE_SECRET, CrashWorld, order_of
from tests.support.json_types import Json
from tests.support.ledger_process import SECRET
from tests.support.ledger_view import eventually
from tests.support.service import CURRENCY, account

Story = Callable[[CrashWorld, str], Awaitable[None]]
BY_MIA = ("mia", "a test")
SAID = ("--actor", "mia", "--reason", "a test")
A_WEEK = 7 * 86_400


async def sale(world: CrashWorld, name: str) -> None:
    """Funding by the charge, two transfers from it, a refund and two reversals."""
    intent = await world.stripe.add_payment("eur", 1_000, available_in=A_WEEK)
    await world.order(name, anna=600, bert=300)
    await world.pay(name, connector="stripe", connector_transaction_id=intent["id"])
    await world.view.reached(name, "completed", "completed")
    await world.refund(name)
    await world.view.reached(name, "reversed", "reversed")
    await world.assert_moved_once(name, anna=600, bert=300)
    sources = {transfer["source_transaction"] for transfer in await world.held(name)}
    assert sources == {intent["latest_charge"]}


async def slow_provider(world: CrashWorld, name: str) -> None:
    """Calls that take longer than the interval at which leases are renewed."""
    fault = await world.stripe.fault("latency", "transfers.create", ms=1_800)
    await world.order(name, anna=900)
    await world.pay(name)
    await world.view.reached(name, "completed")
    await world.stripe.clear_faults(fault)
    await world.refund(name)
    await world.view.reached(name, "reversed")
    await world.assert_moved_once(name, anna=900)


async def requested_refund(world: CrashWorld, name: str) -> None:
    """A payment and a refund that the ledger requests at the PSP, and the reversal."""
    await world.post("/v1/orders", order_of(name, anna=900))
    made = await world.post(f"/v1/orders/{name}/payment", {})
    await world.psp.settle_payment(made["payment_id"], "succeeded")
    await world.view.reached(name, "completed")
    await world.post("/v1/refunds", {"refund_id": f"r_{name}", "order_id": name, "amount": 1_000})
    await world.view.reached(name, "reversed")
    await world.assert_moved_once(name, anna=900)
    refunds = [
        one for one in (await world.psp.ledger())["refunds"] if one["refund_id"] == f"r_{name}"
    ]
    assert [(one["amount"], one["status"]) for one in refunds] == [(1_000, "succeeded")]


async def failed_refund(world: CrashWorld, name: str) -> None:
    """A refund that fails after it succeeded: the compensation goes out once."""
    await world.order(name, anna=900)
    await world.psp.take_payment(f"pay_{name}", 1_000, CURRENCY, metadata={"order_id": name})
    await world.view.reached(name, "completed")
    made = await world.psp.make_refund(f"pay_{name}", None)
    await world.psp.settle_refund(made["refund_id"], "succeeded")
    await world.view.reached(name, "reversed")
    await world.psp.settle_refund(made["refund_id"], "failed")
    await world.view.reached(name, "reversed", "completed")
    held = [(one["amount"], len(one["reversals"])) for one in await world.held(name)]
    assert held == [(900, 1), (900, 0)]


async def look_up_first(world: CrashWorld, name: str) -> None:
    """Recovery after a restore: each call begins with a look-up at Stripe."""
    operator, seen = world.storage.commands.operator, "CircuitBreaker.state after"
    before = world.file.count(seen)
    await operator.pause(LOOK_UP_FIRST, *BY_MIA, lost_since=LONG_AGO)
    try:

        async def known() -> bool:
            return world.file.count(seen) > before

        await eventually(known, "the ledger has read the pause")
        await world.order(name, anna=900)
        await world.pay(name)
        await world.view.reached(name, "completed")
        await world.refund(name)
        await world.view.reached(name, "reversed")
    finally:
        await operator.resume(LOOK_UP_FIRST, *BY_MIA)
    await world.assert_moved_once(name, anna=900)


async def lost_webhook(world: CrashWorld, name: str) -> None:
    """A refund whose webhook never arrives: the poller finds it."""
    await world.order(name, anna=900)
    await world.psp.take_payment(f"pay_{name}", 1_000, CURRENCY, metadata={"order_id": name})
    await world.view.reached(name, "completed")
    await world.psp.webhook(knobs={"drop": ["refund_*"], "retry_schedule": [0.1] * 300})
    try:
        made = await world.psp.make_refund(f"pay_{name}", None)
        await world.psp.settle_refund(made["refund_id"], "succeeded")
        await world.view.reached(name, "reversed")
    finally:
        await world.psp.webhook(knobs={"drop": [], "retry_schedule": [0.1] * 300})
    await world.assert_moved_once(name, anna=900)


async def lost_dispute(world: CrashWorld, name: str) -> None:
    """A lost dispute of which no webhook arrives: the poller finds it."""
    await world.order(name, anna=900)
    await world.psp.take_payment(f"pay_{name}", 1_000, CURRENCY, metadata={"order_id": name})
    await world.view.reached(name, "completed")
    await world.psp.webhook(knobs={"drop": ["dispute_*"], "retry_schedule": [0.1] * 300})
    try:
        dispute = await world.psp.open_dispute(f"pay_{name}")
        await world.psp.settle_dispute(dispute, "lost")
        await world.view.reached(name, "reversed")
    finally:
        await world.psp.webhook(knobs={"drop": [], "retry_schedule": [0.1] * 300})
    await world.assert_moved_once(name, anna=900)


async def lost_payment(world: CrashWorld, name: str) -> None:
    """A payment whose webhook never arrives: the poller finds it, and the seller is paid."""
    await world.order(name, anna=900)
    await world.psp.webhook(knobs={"drop": ["payment_*"], "retry_schedule": [0.1] * 300})
    try:
        await world.psp.take_payment(f"pay_{name}", 1_000, CURRENCY, metadata={"order_id": name})
        await world.view.reached(name, "completed")
    finally:
        await world.psp.webhook(knobs={"drop": [], "retry_schedule": [0.1] * 300})
    await world.refund(name)
    await world.view.reached(name, "reversed")
    await world.assert_moved_once(name, anna=900)


async def busy_provider(world: CrashWorld, name: str) -> None:
    """Stripe refuses the first call of each kind because of its rate limit."""
    for operation in ("transfers.create", "reversals.create"):
        await world.stripe.fault("status", operation, status=429, times=1)
    await world.order(name, anna=900)
    await world.pay(name)
    await world.view.reached(name, "completed")
    await world.refund(name)
    await world.view.reached(name, "reversed")
    await world.assert_moved_once(name, anna=900)


async def restart(world: CrashWorld, name: str) -> None:
    """The ledger is killed and starts again with work waiting: binding, account, first claims."""
    await world.order(name, anna=900)
    await world.restart()
    await world.pay(name)
    await world.view.reached(name, "completed")
    await world.refund(name)
    await world.view.reached(name, "reversed")
    await world.assert_moved_once(name, anna=900)


async def early_webhooks(world: CrashWorld, name: str) -> None:
    """Payment and refund are reported before the order is known: parked, then released."""
    await world.pay(name)
    await world.refund(name)

    async def parked() -> bool:
        rows = await world.view.select(
            "select from webhook_inbox where status = 'parked' and subject is not null"
        )
        return len(rows) == 2

    await eventually(parked, "both webhooks are parked")
    await world.order(name, anna=900)

    async def cancelled() -> bool:
        rows = await world.view.transfers(name)
        return [row.status for row in rows] in (["cancelled"], ["reversed"])

    await world.view.until(cancelled, f"{name} is refunded")
    held = await world.held(name)
    assert [len(one["reversals"]) for one in held] in ([], [1])


async def change_at_stripe(world: CrashWorld, name: str) -> None:
    """A reversal in Stripe's dashboard is told by a thin webhook, and adopted."""
    hook = f"{world.process.url}/webhooks/stripe"
    endpoint = await world.stripe.add_webhook_endpoint(
        hook, [STRIPE_SECRET], payload="thin", knobs={"retry_schedule": [0.1] * 300}
    )
    try:
        await world.order(name, anna=900)
        await world.pay(name)
        (row,) = await world.view.reached(name, "completed")
        await world.stripe.fault("status", "transfers.retrieve", status=503, times=1)
        await world.stripe.external_reversal(str(row.stripe_transfer_id))
        await _read_again(world, name)
        await world.view.reached(name, "reversed")
        await world.stripe.webhooks_quiet()
    finally:
        await world.stripe.remove_webhook_endpoint(endpoint)
    await world.assert_moved_once(name, anna=900)


async def _read_again(world: CrashWorld, name: str) -> None:
    """Wait until an object could not be read, and let the time until its next reading pass. After a
    kill the next process may have read it."""
    later = "reason like %s and status = 'stored' and due_at > now()"

    async def deferred() -> bool:
        rows = await world.view.select(f"select from webhook_inbox where {later}", "%read%")
        return bool(rows) or (await world.view.transfer(name)).status == "reversed"

    await eventually(deferred, "the event is handled later")
    async with world.view.pool.connection() as connection:
        await connection.execute(
            f"update webhook_inbox set due_at = now() where {later}".encode(), ("%read%",)
        )
        await connection.execute("select pg_notify('webhook_inbox', '')")


async def account_returns(world: CrashWorld, name: str) -> None:
    """A seller's account cannot be paid; the webhook that it can be paid again ends the wait."""
    seller, hook = f"s_{name}", f"{world.process.url}/webhooks/stripe"
    await world.stripe.change_account(account(seller), transfers_capability="inactive")
    await world.order(name, **{seller: 900})
    await world.pay(name)
    await world.view.reached(name, "failed")
    endpoint = await world.stripe.add_webhook_endpoint(
        hook, [STRIPE_SECRET], connect=True, knobs={"retry_schedule": [0.1] * 300}
    )
    try:
        await world.stripe.change_account(
            account(seller), transfers_capability="active", disabled_reason=None
        )
        await world.view.reached(name, "completed")
        await world.stripe.webhooks_quiet()
    finally:
        await world.stripe.remove_webhook_endpoint(endpoint)
    await world.refund(name)
    await world.view.reached(name, "reversed")
    await world.assert_moved_once(name, **{seller: 900})


async def unreadable_webhook(world: CrashWorld, name: str) -> None:
    """A signed body that is no JSON: it is kept, with an alarm, until a person discards it."""
    body = f"no json, {name}".encode()
    headers = {HEADER: sign(body, SECRET), "Content-Type": "application/json"}
    await world.insist(lambda: world.web.post((body, headers)))

    async def dead() -> list[Json]:
        return await world.view.select(
            "select inbox_id from webhook_inbox where status = 'dead' and body = %s", body
        )

    (row,) = await world.view.until(dead, "the webhook is dead")
    assert "webhook_unreadable" in await world.view.alarms()
    await world.command("inbox", "discard", str(row["inbox_id"]), *SAID)
    assert await dead() == []


async def outage(world: CrashWorld, name: str) -> None:
    """Stripe answers 503 to everything until the breaker is open, and then answers again."""
    sellers = {f"s{number}": 100 for number in range(8)}
    waits = "CircuitBreaker.until_probe after"
    fault = await world.stripe.fault("status", "*", status=503)
    try:
        await world.order(name, **sellers)
        await world.pay(name)
        before = world.file.count(waits)
        await eventually(lambda: world.view.select("select from breaker where open"), "an outage")

        async def told() -> bool:
            if "stripe_outage" not in await world.view.alarms():
                await _probe_now(world)
                return False
            return world.file.count(waits) > before

        await eventually(told, "an alarm, and a wait for the next probe")
    finally:
        await world.stripe.clear_faults(fault)

    async def closed() -> bool:
        await _probe_now(world)  # again: a killed process has used its turn
        return not await world.view.select("select from breaker where open")

    await eventually(closed, "Stripe answers a probe")
    await world.view.reached(name, *["completed"] * len(sellers))
    await world.refund(name)
    await world.view.reached(name, *["reversed"] * len(sellers))
    await world.assert_moved_once(name, **sellers)


async def _probe_now(world: CrashWorld) -> None:
    async with world.view.pool.connection() as connection:
        await connection.execute("update breaker set probe_at = now() where open")
        await connection.execute("select pg_notify('ledger_work', '')")


SERVED: dict[str, Story] = {
    story.__name__: story
    for story in (
        sale,
        slow_provider,
        busy_provider,
        requested_refund,
        failed_refund,
        look_up_first,
        lost_webhook,
        lost_dispute,
        lost_payment,
        early_webhooks,
        unreadable_webhook,
        change_at_stripe,
        account_returns,
        outage,
        restart,
    )
}


async def idle(world: CrashWorld) -> None:
    """Let the loops in the background take two of their rounds."""
    round_ended = "PollProgress.until_due after"

    async def two_rounds() -> bool:
        return world.file.count(round_ended) >= 2

    await eventually(two_rounds, "the poller has made two rounds")
