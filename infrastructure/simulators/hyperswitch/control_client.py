"""Client of the simulated Hyperswitch's `/_sim/*` routes."""

from typing import Any

from infrastructure.simulators.common.control_client import ControlClient, Json


class HyperswitchControl(ControlClient):
    """Every method is one request; each raises `ControlRefused` with the simulator's message when
    it declines."""

    async def take_payment(
        self, payment_id: str, amount: int, currency: str, **settings: Any
    ) -> Json:
        """Make a succeeded payment, as from the marketplace's own checkout. Settings: `metadata`,
        …"""
        return await self._post(
            "payments",
            {"payment_id": payment_id, "amount": amount, "currency": currency, **settings},
        )

    async def settle_payment(self, payment_id: str, status: str, **settings: Any) -> Json:
        """Set any status. Settings: `amount_received`, `error_code`, `error_message`,
        `announce`."""
        return await self._post(f"payments/{payment_id}", {"status": status, **settings})

    async def make_refund(
        self, payment_id: str, amount: int | None = None, **settings: Any
    ) -> Json:
        """Make a refund in the dashboard, under a refund_id that is not ours. Settings:
        `split_refunds`."""
        body = {"payment_id": payment_id, "amount": amount, **settings}
        return await self._post("refunds", body)

    async def settle_refund(self, refund_id: str, status: str, **settings: Any) -> Json:
        """Set any status, also after a final one. Settings: `error_code`, `error_message`,
        `announce`."""
        return await self._post(f"refunds/{refund_id}", {"status": status, **settings})

    async def open_dispute(self, payment_id: str, amount: int | None = None) -> str:
        """Open a dispute and return its id."""
        return str(
            (await self._post("disputes", {"payment_id": payment_id, "amount": amount}))[
                "dispute_id"
            ]
        )

    async def settle_dispute(self, dispute_id: str, status: str, announce: bool = True) -> Json:
        """Set the status: `challenged`, `won`, `lost`, `accepted`, `expired` or `cancelled`."""
        return await self._post(f"disputes/{dispute_id}", {"status": status, "announce": announce})

    async def announce(self, type_: str, kind: str, object_: Json, object_id: str) -> str | None:
        """Announce any event. Returns its id, or None for a second event of the same type about the
        object."""
        body = {"type": type_, "kind": kind, "object": object_, "object_id": object_id}
        event_id: str | None = (await self._post("events", body))["event_id"]
        return event_id

    async def events(self) -> list[Json]:
        """Return the envelopes of all events, delivered or not, oldest first."""
        return await self._list("events")

    async def resend(self, event_id: str) -> None:
        """Send the same bytes once more, or for the first time after a dropped delivery."""
        await self._post(f"events/{event_id}/resend", {})

    async def webhook(self, **changes: Any) -> Json:
        """Set or change `url`, `secret` (None: unsigned) and `knobs` (see
        `PspDeliverySettings`)."""
        return await self._post("webhook", changes)

    async def let(self, kind: str, becomes: str | None, after: float | None = None) -> None:
        """Set the status that new `payments` (once confirmed) or `refunds` reach by themselves, at
        once or `after` seconds."""
        await self._post(f"behaviour/{kind}", {"becomes": becomes, "after": after})
