"""Refunds that Stripe shows for an order whose authority is the PSP, and that the PSP has not
reported.

The PSP's own refunds are shown by both. One that was made in Stripe's dashboard is never reported
by the PSP: Stripe's event is ignored, and a follow-up of our own in the inbox looks again later.
The follow-up is stored before the event is closed, under an id made of the refund, so that a crash
in between loses nothing and several events about one refund make one follow-up.
"""

from datetime import datetime, timedelta
from typing import Protocol

from application.commands import Commands
from application.commands.refunds import RefundReport
from application.commands.subjects import subject_of_order
from application.ports import Clock
from application.webhooks.handler import Ignored, Parked, StoredEvent, WebhookAlarm
from application.webhooks.stripe.event_object import ObjectUnread, StripeObjects
from application.webhooks.stripe.events import RefundObject
from domain.currency import in_major_units, whole_from_stripe
from domain.errors import NotTheAuthority
from domain.identity import DISPUTE
from domain.money import currency
from domain.order.aggregate import Order
from domain.order.authority import HYPERSWITCH, authority_of
from domain.order.payment_match import Match, match, payments_of

UNCONFIRMED = "refund.unconfirmed"
"""Type of the follow-up; Stripe has no such type."""


class Intake(Protocol):
    """The inbox, as a follow-up needs it."""

    async def put(
        self, provider: str, event_id: str, event_type: str, body: bytes, received_at: datetime
    ) -> bool:
        """Store an event durably; return whether it is new."""


class UnconfirmedRefunds:
    """Follow-ups of refunds that only Stripe has reported."""

    def __init__(
        self,
        commands: Commands,
        objects: StripeObjects,
        inbox: Intake,
        clock: Clock,
        after: timedelta,
    ) -> None:
        """`after`: the time in which the PSP should report a refund that Stripe shows."""
        self._commands, self._objects, self._inbox = commands, objects, inbox
        self._clock, self._after = clock, after

    async def expect(
        self, event: StoredEvent, refund: RefundObject, report: RefundReport, why: NotTheAuthority
    ) -> Ignored:
        """Ignore the event; if the ledger knows no such refund yet, look again later."""
        order = await self._commands.orders.order(report.order_id)
        of_other = match(payments_of(order), report.payment) is Match.OTHER
        psp_reports = authority_of(order) == HYPERSWITCH and not of_other
        if psp_reports and not await self._is_known(order, refund):
            now, event_id = self._clock.now(), f"unconfirmed:{refund.id}"
            await self._inbox.put("stripe", event_id, UNCONFIRMED, event.body, now)
        return Ignored(str(why))

    async def look(self, refund: RefundObject, order_id: str) -> Ignored | Parked:
        """Return the result of a follow-up: an alarm, once the PSP has had the time to report the
        refund."""
        order = await self._commands.orders.order(order_id)
        if await self._is_known(order, refund):
            return Ignored("the payment provider has reported the refund")
        if await self._has_failed(refund):
            return Ignored("the refund has failed at Stripe since")
        whole = whole_from_stripe(refund.currency, refund.amount)
        amount = in_major_units(whole, currency(refund.currency))
        reason = (
            f"Stripe shows refund {refund.id} of {amount} for order {order_id!r}, and the payment "
            "provider, which refunds this order, has reported no such refund: nothing is taken "
            "from the sellers. If it was made in Stripe's dashboard, settle the sellers' parts by "
            "hand, then close this with `inbox discard`"
        )
        return Parked(
            subject_of_order(order_id),
            reason,
            WebhookAlarm.REFUND_UNKNOWN_TO_PSP,
            alarm_after=self._after,
        )

    async def _has_failed(self, refund: RefundObject) -> bool:
        try:
            shown = await self._objects.read(f"/v1/refunds/{refund.id}")
        except (ObjectUnread, ValueError):
            return False
        return shown.get("status") in ("failed", "canceled")

    async def _is_known(self, order: Order, refund: RefundObject) -> bool:
        """Return whether the order's refunds here explain the refund at Stripe.

        The charge's sum at Stripe is compared with the sum here; if the charge cannot be read, the
        refund needs one of its amount here.
        """
        here = [known.amount for known in order.refunds.values() if known.effective]
        here += [amount for name, amount in order.set_aside.items() if not _is_dispute(name)]
        here += [asked.amount for asked in order.reserved.values()]
        dismissed = {name: one for name, one in order.decided.items() if one.allocation is None}
        here += [one.amount for name, one in dismissed.items() if not _is_dispute(name)]
        amount = whole_from_stripe(refund.currency, refund.amount)
        if refund.charge is None:
            return amount in here
        try:
            charge = await self._objects.read(f"/v1/charges/{refund.charge}")
        except (ObjectUnread, ValueError):  # not readable with our key, or no id of a charge
            return amount in here
        refunded = charge.get("amount_refunded")
        if not isinstance(refunded, int):
            return amount in here
        return whole_from_stripe(refund.currency, refunded) <= sum(here)


def _is_dispute(cause_id: str) -> bool:
    return cause_id.startswith(DISPUTE)
