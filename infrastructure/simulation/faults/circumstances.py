"""Circumstances that bring a process to places that it rarely reaches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from infrastructure.simulation.faults.draw import Draw
from infrastructure.simulation.faults.kinds import FaultKind
from infrastructure.simulation.faults.schedule import (
    Element,
    PlannedCommand,
    PlannedDispute,
    PlannedFault,
    PlannedOrder,
    PlannedRefund,
)

K = FaultKind
MINUTE, HOUR = 60.0, 3_600.0
POLLED_FOR = 12 * HOUR
"""Time in which each provider is polled several times."""
ALWAYS = 100_000
"""Times of a fault that strikes as long as it lasts."""


class Scene(NamedTuple):
    """The parts of a schedule that its circumstances need."""

    seed: int
    moments: Sequence[float]
    """Instants at which money moves, in seconds from the beginning."""
    orders: Sequence[PlannedOrder]
    ends: float


class _Setting:
    """The scene of one circumstance, with the order and the seller that it is about."""

    def __init__(self, name: str, scene: Scene) -> None:
        self.name, self.scene, self.draw = name, scene, Draw(scene.seed, name)
        self.chance = self.draw.chance
        self.order = self.chance.choice(scene.orders)
        self.seller = self.chance.choice(sorted(self.order.shares))
        self.paid_at = max(0.0, self.order.at + self.order.paid_after)

    def fault(self, kind: FaultKind, at: float, lasts: float) -> PlannedFault:
        """Return a fault that strikes every request to Stripe, or every webhook of it."""
        return PlannedFault(
            name=f"{self.name}-{kind}",
            at=max(0.0, round(at, 3)),
            seed=self.draw.seed,
            kind=kind,
            lasts=lasts,
            process=None,
            times=ALWAYS,
            seconds=self.draw.seconds(1, MINUTE),
            order=self.order.name,
            seller=self.seller,
        )

    def command(self, kind: str, at: float) -> PlannedCommand:
        return PlannedCommand(
            name=f"{self.name}-{kind}",
            at=max(0.0, round(at, 3)),
            seed=self.draw.seed,
            kind=kind,
            order=self.order.name,
            seller=self.seller,
            lasts=self.scene.ends,
        )

    def refunds(self, soonest: float, latest: float, *, by_ledger: bool) -> Iterator[PlannedRefund]:
        """Yield a refund of each order. `soonest`, `latest`: seconds after its payment."""
        for order in self.scene.orders:
            after = max(0.0, order.at + order.paid_after) + self.draw.seconds(soonest, latest)
            yield PlannedRefund(
                name=f"{self.name}-{order.name}-refund",
                at=round(after, 3),
                seed=self.draw.seed,
                order=order.name,
                amount=self.chance.choice((order.amount, max(1, order.amount // 3))),
                by_ledger=by_ledger,
                ends_after=self.draw.seconds(0.1, HOUR),
            )


def _outage(of: _Setting) -> Iterator[Element]:
    """Let no transfer of a payment be made until its third attempt has probed Stripe."""
    for order in of.scene.orders:
        paid_at = max(0.0, order.at + order.paid_after)
        away = of.fault(K.UNAVAILABLE, paid_at - MINUTE, of.draw.seconds(10 * MINUTE, HOUR))
        for step in ("stripe transfers.create", "stripe account.retrieve"):
            yield replace(away, name=f"{of.name}-{order.name}-{step}", step=step)


def _limited(of: _Setting) -> Iterator[Element]:
    yield replace(of.fault(K.RATE_LIMITED, of.draw.near(of.scene.moments), HOUR), times=10)


def _look_ups(of: _Setting) -> Iterator[Element]:
    yield of.command("look_up_first", 0.0)
    yield from _reversed(of)


def _lost_webhooks(of: _Setting) -> Iterator[Element]:
    """Lose the PSP's webhooks, so that only the poller finds payments and refunds."""
    lost = of.fault(K.WEBHOOK_DROPPED, 0.0, max(of.scene.ends, POLLED_FOR))
    yield replace(lost, provider="hyperswitch", share=of.chance.choice((1.0, 0.7)))
    yield from _reversed(of)


def _nothing(of: _Setting) -> Iterator[Element]:
    """Arrange nothing: the faults only have to wait for long enough."""
    yield from ()


def _restricted(of: _Setting) -> Iterator[Element]:
    """Restrict an account and release it; Stripe tells both."""
    yield of.fault(K.ACCOUNT_RESTRICTED, of.paid_at, of.draw.seconds(MINUTE, HOUR))


def _told_again(of: _Setting) -> Iterator[Element]:
    """Hide an account from the ledger, so that webhooks about it are tried again."""
    yield from _restricted(of)
    unread = of.fault(K.UNAVAILABLE, of.paid_at - MINUTE, of.draw.seconds(HOUR, 3 * HOUR))
    yield replace(unread, step="stripe accounts.retrieve")


def _moved(of: _Setting) -> Iterator[Element]:
    yield of.command("move_seller", of.draw.near(of.scene.moments))


def _slow(of: _Setting) -> Iterator[Element]:
    """Let Stripe answer so slowly that leases have to be renewed."""
    yield replace(of.fault(K.SLOW_DRIP, of.paid_at - MINUTE, of.scene.ends), times=40)


def _refunded(of: _Setting) -> Iterator[Element]:
    """Ask the ledger to refund the orders."""
    yield from of.refunds(1, 10 * MINUTE, by_ledger=True)


def _refund_look_ups(of: _Setting) -> Iterator[Element]:
    """Lose the answers to a refund while look-ups come first."""
    yield of.command("look_up_first", 0.0)
    for refund in of.refunds(1, 10 * MINUTE, by_ledger=True):
        yield replace(refund, ends_after=2 * HOUR)
    lost = of.fault(K.ANSWER_LOST, of.paid_at, of.scene.ends)
    yield replace(lost, provider="hyperswitch", step="hyperswitch refunds.create", times=3)


def _reversed(of: _Setting) -> Iterator[Element]:
    """Refund the orders at the PSP after their sellers were paid."""
    yield from of.refunds(MINUTE, 20 * MINUTE, by_ledger=False)


def _pending(of: _Setting) -> Iterator[Element]:
    """Let the reversals of refunds begin pending."""
    yield from _reversed(of)
    yield of.fault(K.REVERSAL_PENDING, 0.0, of.paid_at + of.draw.seconds(HOUR, 4 * HOUR))


def _given_up(of: _Setting) -> Iterator[Element]:
    """Let transfers or reversals fail until the ledger gives them up, and retry them by hand."""
    failing = of.fault(K.SERVER_ERROR, of.paid_at - MINUTE, 2 * POLLED_FOR)
    yield replace(failing, step=f"stripe {of.chance.choice(('transfers', 'reversals'))}.create")
    yield of.command("retry", of.paid_at + POLLED_FOR)
    yield from of.refunds(MINUTE, 2 * POLLED_FOR, by_ledger=False)


def _paid_out(of: _Setting) -> Iterator[Element]:
    """Pay out the money of a seller."""
    yield of.fault(K.BALANCE_EMPTY, of.paid_at + of.draw.seconds(MINUTE, HOUR), HOUR)


def _dashboard(of: _Setting) -> Iterator[PlannedFault]:
    """Reverse a transfer of each order in Stripe's dashboard."""
    for order in of.scene.orders:
        paid_at = max(0.0, order.at + order.paid_after)
        fault = of.fault(
            K.DASHBOARD_REVERSAL, paid_at + of.draw.seconds(2 * MINUTE, 9 * MINUTE), 0.0
        )
        seller = of.chance.choice(sorted(order.shares))
        yield replace(fault, name=f"{fault.name}-{order.name}", order=order.name, seller=seller)


def _taken_back(of: _Setting) -> Iterator[Element]:
    """Reverse in Stripe's dashboard, so that the ledger learns it too late to ask for less."""
    yield from _dashboard(of)
    yield from of.refunds(10 * MINUTE, 30 * MINUTE, by_ledger=False)
    yield of.fault(K.WEBHOOK_DELAYED, 0.0, of.scene.ends)


def _paused(of: _Setting) -> Iterator[Element]:
    """Reverse twice in Stripe's dashboard while two reversals of the ledger wait for the end of a
    pause, so that the webhooks wait too, and too little is left."""
    for refund in of.refunds(20, MINUTE, by_ledger=False):
        third = replace(refund, ends_after=1.0, amount=max(1, refund.amount // 3))
        yield third
        yield replace(third, name=f"{refund.name}-again", at=refund.at + 10)
        pause = of.command("pause_everything", refund.at)
        yield replace(pause, name=f"{pause.name}-{refund.order}", lasts=20 * MINUTE)
    for reversal in _dashboard(of):
        yield replace(reversal, share=0.3)
        again = reversal.at + MINUTE
        yield replace(reversal, name=f"{reversal.name}-again", at=again, share=0.5)


def _lowered(of: _Setting) -> Iterator[Element]:
    """Let the first of two refunds fail while no reversal is sent: the second one takes less, by a
    unit of rounding."""
    paid = max(order.at + max(0.0, order.paid_after) for order in of.scene.orders)
    at = paid + of.draw.seconds(5 * MINUTE, HOUR)
    yield replace(of.command("pause_everything", at - 1), lasts=10 * MINUTE)
    for refund in of.refunds(1, MINUTE, by_ledger=False):
        third = replace(refund, at=at, ends_after=1.0, amount=max(1, refund.amount // 3))
        yield replace(third, fails_after=2 * MINUTE)
        yield replace(third, name=f"{refund.name}-again", at=at + 10)


def _restored(of: _Setting) -> Iterator[Element]:
    """Lose the database after refunds have moved money, and report the refunds again only when
    Stripe has shown their effect."""
    paid = max(order.at + max(0.0, order.paid_after) for order in of.scene.orders)
    at, lasts = paid + of.draw.seconds(5 * MINUTE, HOUR), of.draw.seconds(3 * MINUTE, 30 * MINUTE)
    for refund in of.refunds(1, MINUTE, by_ledger=False):
        yield replace(refund, at=at + 1, ends_after=1.0)
    lost = of.fault(K.RESTORED, at, lasts)
    yield lost
    silent = of.fault(K.WEBHOOK_DROPPED, lost.at + lasts, HOUR)
    yield replace(silent, provider="hyperswitch")


def _set_aside(of: _Setting) -> Iterator[Element]:
    """Refund each order twice, since the bank refuses the first refund; the webhook about that
    comes last."""
    for refund in of.refunds(1, 10 * MINUTE, by_ledger=False):
        order = next(one for one in of.scene.orders if one.name == refund.order)
        whole = replace(refund, amount=order.amount, ends_after=1.0)
        yield replace(whole, fails_after=MINUTE)
        fails = of.chance.choice((None, 1.0))
        again = refund.at + 2 * MINUTE
        yield replace(whole, name=f"{refund.name}-again", at=again, fails_after=fails)
        late = of.fault(K.WEBHOOK_DELAYED, refund.at + 0.5 * MINUTE, 1.4 * MINUTE)
        yield replace(late, name=f"{late.name}-{order.name}", provider="hyperswitch")


def _revived(of: _Setting) -> Iterator[Element]:
    """Freeze the first call for a refund while the PSP refuses it, since another refund takes the
    whole payment; that one fails before the process goes on."""
    order = replace(of.order, name=f"{of.name}-order", paid_after=1.0)
    yield order
    at = order.at + of.draw.seconds(MINUTE, HOUR)
    whole = PlannedRefund(
        name=f"{of.name}-refund",
        at=round(at, 3),
        seed=of.draw.seed,
        order=order.name,
        amount=order.amount + order.surcharge,
        by_ledger=False,
        ends_after=30 * MINUTE,
        succeeds=False,
    )
    yield whole
    again = replace(whole, name=f"{whole.name}-again", at=whole.at + 2, amount=order.amount)
    yield replace(again, by_ledger=True, ends_after=1.0, succeeds=True)
    frozen = replace(of.fault(K.FROZEN, at + 1, HOUR), step="PaymentGateway.create_refund")
    yield replace(frozen, times=1, seconds=45 * MINUTE)


def _paid_first(of: _Setting) -> Iterator[Element]:
    """Pay an order before the marketplace registers it."""
    yield replace(
        of.order,
        name=f"{of.name}-order",
        at=of.order.at + of.draw.seconds(MINUTE, 3 * HOUR),
        paid_after=-of.draw.seconds(MINUTE, 3 * HOUR),
    )


def _disputed(of: _Setting) -> Iterator[Element]:
    """Dispute an order while the providers are polled."""
    yield PlannedDispute(
        name=f"{of.name}-dispute",
        at=round(of.paid_at + of.draw.seconds(1, HOUR), 3),
        seed=of.draw.seed,
        order=of.order.name,
        ends_after=of.draw.seconds(HOUR, 4 * HOUR),
        lost=of.chance.random() < 0.4,
        challenged=of.chance.random() < 0.6,
    )


def _read_again(of: _Setting) -> Iterator[Element]:
    """Let the ledger read a charge again that it has not found."""
    yield of.command("read_charge", of.paid_at + of.draw.seconds(5 * MINUTE, 2 * HOUR))


class Circumstance(NamedTuple):
    """A circumstance, and the places that processes reach in it."""

    arrange: Callable[[_Setting], Iterator[Element]]
    places: tuple[str, ...]
    lasts: float = 3 * HOUR
    """Shortest time in seconds that a fault has to wait for a process to get there."""
    passes: tuple[int, ...] = (0, 0, 0, 0, 0, 1)
    """Numbers of calls that a fault spares first."""


CIRCUMSTANCES: dict[str, Circumstance] = {
    "sent": Circumstance(
        _nothing,
        (
            "EventLog.append intent",
            "TransferGateway.create",
            "stripe transfers.create",
            "WorkQueue.release",
        ),
    ),
    "outage": Circumstance(
        _outage,
        (
            "CircuitBreaker.open_breaker",
            "CircuitBreaker.close_breaker",
            "Alarms.raise_alarm",
        ),
        POLLED_FOR,
    ),
    "probed": Circumstance(
        _outage,
        (
            "CircuitBreaker.take_probe",
            "CircuitBreaker.until_probe",
            "TransferGateway.answers",
            "stripe account.retrieve",
        ),
        POLLED_FOR,
        passes=(1, 2, 4, 8),
    ),
    "limited": Circumstance(_limited, ("RateLimiter.slow_down",)),
    "look_ups": Circumstance(
        _look_ups,
        (
            "TransferGateway.find_by_our_id",
            "TransferGateway.get_transfer",
            "stripe transfers.list",
            "stripe transfers.retrieve",
            "stripe reversals.list",
        ),
    ),
    "lost_payments": Circumstance(
        _lost_webhooks,
        (
            "PaymentGateway.payment",
            "hyperswitch payments.retrieve",
            "UnpaidOrders.still_unpaid",
            "UnpaidOrders.unpaid",
        ),
        POLLED_FOR,
    ),
    "lost_refunds": Circumstance(
        _lost_webhooks,
        (
            "PolledInbox.waiting",
            "PolledInbox.unknown",
            "PolledInbox.put",
            "KnownRefunds.refund_statuses",
        ),
        POLLED_FOR,
    ),
    "polled": Circumstance(
        _nothing,
        (
            "PollProgress.take",
            "PollProgress.advance",
            "PollProgress.checked",
            "PollProgress.until_due",
            "StripeEvents.events",
            "PaymentGateway.refunds",
            "PaymentGateway.disputes",
            "stripe events.list",
            "hyperswitch refunds.list",
            "hyperswitch disputes.list",
        ),
        POLLED_FOR,
    ),
    "restricted": Circumstance(
        _restricted,
        (
            "Directory.waiting",
            "Directory.sellers_of",
            "TransferGateway.get_object",
            "stripe accounts.retrieve",
        ),
    ),
    "told_again": Circumstance(_told_again, ("Inbox.retry_later",)),
    "moved": Circumstance(_moved, ("Directory.unsent_of",)),
    "slow": Circumstance(_slow, ("WorkQueue.renew",)),
    "refunded": Circumstance(
        _refunded,
        ("PaymentGateway.create_refund", "hyperswitch refunds.create", "Directory.refund_named"),
    ),
    "refund_look_ups": Circumstance(
        _refund_look_ups, ("PaymentGateway.refund", "hyperswitch refunds.retrieve")
    ),
    "reversed": Circumstance(_reversed, ("TransferGateway.reverse", "Directory.transfers_of")),
    "pending": Circumstance(_pending, ("stripe reversals.create",)),
    "given_up": Circumstance(_given_up, ()),
    "paid_out": Circumstance(_paid_out, ()),
    "dashboard": Circumstance(_dashboard, ("Directory.transfer_at_stripe",)),
    "taken_back": Circumstance(_taken_back, ()),
    "set_aside": Circumstance(_set_aside, ()),
    "lowered": Circumstance(_lowered, ()),
    "revived": Circumstance(_revived, ()),
    "restored": Circumstance(_restored, ()),
    "paused": Circumstance(_paused, ("Alarms.clear_all",), POLLED_FOR),
    "paid_first": Circumstance(_paid_first, ("Inbox.park",)),
    "disputed": Circumstance(_disputed, ("KnownDisputes.dispute_statuses",), POLLED_FOR),
    "read_again": Circumstance(
        _read_again, ("ChargeReader.charge", "stripe payment_intents.retrieve")
    ),
}
"""All circumstances, by name."""
IN_CIRCUMSTANCE: dict[str, str] = {
    place: name for name, one in CIRCUMSTANCES.items() for place in one.places
}
"""Name of the circumstance in which a process gets to a place."""


def arranged(name: str, scene: Scene) -> list[Element]:
    """Draw the circumstance of this name."""
    return list(CIRCUMSTANCES[name].arrange(_Setting(name, scene)))
