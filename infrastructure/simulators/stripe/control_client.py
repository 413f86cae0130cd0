"""Client of the simulated Stripe's `/_sim/*` routes, for the demo and the tests."""

from typing import Any

from infrastructure.simulators.common.control_client import ControlClient, Json, checked


class SimulatorControl(ControlClient):
    """Every method is one request; each raises `ControlRefused` with the simulator's message when
    it declines."""

    # --- money and accounts -----------------------------------------------------------------------

    async def fund(
        self, currency: str, amount: int, account: str | None = None, pending: bool = False
    ) -> int:
        """Add to the platform's balance or to a seller's. Returns the new amount."""
        body = {"currency": currency, "amount": amount, "account": account, "pending": pending}
        return int((await self._post("fund", body))["amount"])

    async def drain(
        self, currency: str, amount: int | None = None, account: str | None = None
    ) -> int:
        """Take `amount`, by default all, from the platform's balance or a seller's. Returns the
        rest."""
        return int(
            (
                await self._post(
                    "drain", {"currency": currency, "amount": amount, "account": account}
                )
            )["amount"]
        )

    async def change_manners(self, manners: str, pending_days: float | None = None) -> Json:
        """Ask for `live` or `kind` manners, from now on; a reset restores the configured ones."""
        return await self._post("manners", {"manners": manners, "pending_days": pending_days})

    async def pay_out(self, account: str, currency: str, amount: int | None = None) -> Json:
        """Pay `amount`, by default all, of the seller's money out to a bank."""
        return await self._post(
            "payouts", {"account": account, "currency": currency, "amount": amount}
        )

    async def change_account(self, id_: str, **changes: Any) -> Json:
        """Create or change an account: transfers_capability, payouts_enabled, connected_reserves,
        deleted, revoked, …"""
        return await self._post("accounts", {"id": id_, **changes})

    async def create_charge(self, id_: str, currency: str, amount: int, **settings: Any) -> Json:
        """Create a charge. Settings: `transfer_group`, `available_in` (seconds)."""
        return await self._post(
            "charges", {"id": id_, "currency": currency, "amount": amount, **settings}
        )

    async def add_payment(self, currency: str, amount: int, **settings: Any) -> Json:
        """Create a PaymentIntent and its charge, as a connector does. Settings: see
        `payments.add_payment`."""
        body = {"currency": currency, "amount": amount, **settings}
        return await self._post("payment_intents", body)

    async def charge_payment(self, id_: str, **settings: Any) -> Json:
        """Create the charge of a PaymentIntent that has none. Settings: see
        `payments.charge_payment`."""
        return await self._post(f"payment_intents/{id_}/charge", settings)

    async def fail_charge(self, id_: str) -> Json:
        """Let an asynchronous payment fail."""
        return await self._post(f"charges/{id_}/fail", {})

    async def external_reversal(
        self, transfer: str, amount: int | None = None, **settings: Any
    ) -> Json:
        """Make a reversal in the dashboard, or by a refund (`source_refund`): without key and
        without our metadata."""
        return await self._post("reversals", {"transfer": transfer, "amount": amount, **settings})

    async def let_reversals_be_pending(self, on: bool = True) -> None:
        """Let each new reversal begin with the status `pending`."""
        await self._post("pending_reversals", {"on": on})

    async def decide_reversal(
        self, id_: str, status: str, failure_reason: str | None = None
    ) -> Json:
        """Let a pending reversal become `succeeded`, `failed` or `canceled`."""
        return await self._post(
            f"reversals/{id_}", {"status": status, "failure_reason": failure_reason}
        )

    async def external_transfer(
        self, destination: str, amount: int, currency: str, **settings: Any
    ) -> Json:
        return await self._post(
            "transfers",
            {"destination": destination, "amount": amount, "currency": currency, **settings},
        )

    async def announce(self, type_: str, object_: Json, **settings: Any) -> Json:
        """Announce any event, such as `charge.dispute.funds_withdrawn`. Settings: `account`,
        `previous_attributes`."""
        return await self._post("events", {"type": type_, "object": object_, **settings})

    async def tune(self, **changes: Any) -> Json:
        """Change keys, limits and latency (see `config.RuntimeSettings`). Returns all runtime
        settings."""
        return checked(await self._http.patch("/_sim/tuning", json=changes))

    # --- webhooks ---------------------------------------------------------------------------------

    async def add_webhook_endpoint(
        self,
        url: str,
        secrets: list[str],
        types: list[str] | None = None,
        connect: bool = False,
        **settings: Any,
    ) -> str:
        """Add an endpoint and return its id. `knobs`: see `StripeDeliverySettings`; `payload`:
        snapshot or thin."""
        body = {
            "url": url,
            "secrets": secrets,
            "types": types or ["*"],
            "connect": connect,
            **settings,
        }
        return str((await self._post("webhook_endpoints", body))["id"])

    async def change_webhook_endpoint(self, id_: str, **changes: Any) -> Json:
        answer = await self._http.patch(f"/_sim/webhook_endpoints/{id_}", json=changes)
        return checked(answer)

    async def remove_webhook_endpoint(self, id_: str) -> None:
        checked(await self._http.delete(f"/_sim/webhook_endpoints/{id_}"))

    # --- the simulator's state --------------------------------------------------------------------

    async def violations(self) -> list[str]:
        """Return the broken laws of the simulator's books: none, unless the simulator is wrong."""
        found: list[str] = (await self._get("invariants"))["violations"]
        return found

    async def snapshot(self, name: str) -> None:
        await self._post(f"snapshots/{name}", {})

    async def restore(self, name: str) -> None:
        await self._post(f"snapshots/{name}/restore", {})
