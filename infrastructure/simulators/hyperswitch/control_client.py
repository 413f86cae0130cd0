"""A small client for the simulated Hyperswitch's `/_sim/*`."""

from __future__ import annotations

from typing import Any

from infrastructure.simulators.common.control_client import ControlClient, Json


class HyperswitchControl(ControlClient):
    """Every method is one request; each raises `ControlRefused` with the simulator's sentence when it declines."""

    async def take_payment(self, payment_id: str, amount: int, currency: str, **settings: Any) -> Json:
        """A payment that the marketplace's own checkout made and that has succeeded; `metadata`, …"""
        return await self._post("payments", {"payment_id": payment_id, "amount": amount, "currency": currency, **settings})

    async def settle_payment(self, payment_id: str, status: str, **settings: Any) -> Json:
        """What the connector says: any status. `amount_received`, `error_code`, `error_message`, `announce`."""
        return await self._post(f"payments/{payment_id}", {"status": status, **settings})

    async def make_refund(self, payment_id: str, amount: int | None = None) -> Json:
        """A refund made in the dashboard, under a name that is not ours."""
        return await self._post("refunds", {"payment_id": payment_id, "amount": amount})

    async def settle_refund(self, refund_id: str, status: str, **settings: Any) -> Json:
        """What the connector says: any status, also after a final one. `error_code`, `error_message`, `announce`."""
        return await self._post(f"refunds/{refund_id}", {"status": status, **settings})

    async def open_dispute(self, payment_id: str, amount: int | None = None) -> str:
        """Returns its id."""
        return str((await self._post("disputes", {"payment_id": payment_id, "amount": amount}))["dispute_id"])

    async def settle_dispute(self, dispute_id: str, status: str, announce: bool = True) -> Json:
        """`challenged`, `won`, `lost`, `accepted`, `expired` or `cancelled`."""
        return await self._post(f"disputes/{dispute_id}", {"status": status, "announce": announce})

    async def announce(self, type_: str, kind: str, object_: Json, object_id: str) -> str | None:
        """Any event; returns its id, or None when this was said of the object before."""
        body = {"type": type_, "kind": kind, "object": object_, "object_id": object_id}
        event_id: str | None = (await self._post("events", body))["event_id"]
        return event_id

    async def events(self) -> list[Json]:
        """All events there were, delivered or not, oldest first, as they are sent."""
        data: list[Json] = (await self._get("events"))["data"]
        return data

    async def resend(self, event_id: str) -> None:
        """The very bytes once more, or for the first time when they were dropped."""
        await self._post(f"events/{event_id}/resend", {})

    async def webhook(self, **changes: Any) -> Json:
        """Set or change `url`, `secret` (None: unsigned) and `knobs` (see `webhooks.Knobs`)."""
        return await self._post("webhook", changes)

    async def let(self, kind: str, becomes: str | None, after: float | None = None) -> None:
        """What becomes of new `payments` (once confirmed) or `refunds` by themselves, at once or `after` seconds."""
        await self._post(f"behaviour/{kind}", {"becomes": becomes, "after": after})

