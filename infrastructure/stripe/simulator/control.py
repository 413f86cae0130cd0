"""A small client for `/_sim/*`, used by the demo, the tests and the fault simulations."""

from __future__ import annotations

from types import TracebackType
from typing import Any, TypeAlias

import httpx

Json: TypeAlias = dict[str, Any]

POLL_MARGIN = 10.0
"""Seconds that the client waits longer than the long poll it asks for."""


class SimulatorControl:
    """Every method is one request; each raises `ControlRefused` with the simulator's sentence when it declines."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False)

    async def __aenter__(self) -> SimulatorControl:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    # --- money and accounts -------------------------------------------------------------------------------------------

    async def fund(self, currency: str, amount: int, account: str | None = None, pending: bool = False) -> int:
        """Add to the platform's balance, or to a seller's; returns the new amount."""
        body = {"currency": currency, "amount": amount, "account": account, "pending": pending}
        return int((await self._post("fund", body))["amount"])

    async def drain(self, currency: str, amount: int | None = None, account: str | None = None) -> int:
        """Take out of the platform's balance, or a seller's: the amount, or all of it; returns what is left."""
        return int((await self._post("drain", {"currency": currency, "amount": amount, "account": account}))["amount"])

    async def pay_out(self, account: str, currency: str, amount: int | None = None) -> Json:
        """The seller's money goes to a bank; all of it without an amount."""
        return await self._post("payouts", {"account": account, "currency": currency, "amount": amount})

    async def change_account(self, id_: str, **changes: Any) -> Json:
        """Create or change: transfers_capability, payouts_enabled, connected_reserves, deleted, revoked, …"""
        return await self._post("accounts", {"id": id_, **changes})

    async def create_charge(self, id_: str, currency: str, amount: int, **settings: Any) -> Json:
        """`transfer_group`, `available_in` (seconds)."""
        return await self._post("charges", {"id": id_, "currency": currency, "amount": amount, **settings})

    async def external_reversal(self, transfer: str, amount: int | None = None, **settings: Any) -> Json:
        """A reversal made in the dashboard, or by a refund (`source_refund`): without key and without our metadata."""
        return await self._post("reversals", {"transfer": transfer, "amount": amount, **settings})

    async def external_transfer(self, destination: str, amount: int, currency: str, **settings: Any) -> Json:
        return await self._post("transfers", {"destination": destination, "amount": amount, "currency": currency, **settings})

    async def announce(self, type_: str, object_: Json, **settings: Any) -> Json:
        """Any event, such as `charge.dispute.funds_withdrawn`; `account`, `previous_attributes`."""
        return await self._post("events", {"type": type_, "object": object_, **settings})

    async def advance_clock(self, seconds: float) -> float:
        return float((await self._post("clock", {"seconds": seconds}))["now"])

    # --- faults -------------------------------------------------------------------------------------------------------

    async def fault(
        self,
        kind: str,
        operation: str = "*",
        *,
        key: str | None = None,
        destination: str | None = None,
        transfer: str | None = None,
        nth: int | None = None,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 1,
        **action: Any,
    ) -> str:
        """Arm a fault and return its id; `action` holds the settings of its kind (`actions.py` lists them)."""
        match = {
            "operation": operation,
            "key": key,
            "destination": destination,
            "transfer": transfer,
            "nth": nth,
            "times": times,
            "probability": probability,
            "seed": seed,
        }
        return str((await self._post("faults", {"match": match, "action": {"kind": kind, **action}}))["id"])

    async def hold(self, operation: str = "*", point: str = "before_commit", times: int = 1, **settings: Any) -> str:
        """Stop the next call (or `times` calls) there until `release`. `on_disconnect`: abandon, execute or wait."""
        return await self.fault("hold", operation, times=times, point=point, **settings)

    async def wait_until_held(self, operation: str = "*", count: int = 1, timeout: float = 30.0) -> list[Json]:
        """The calls that are being held. Raises TimeoutError when there are fewer than `count` after `timeout` s."""
        query: dict[str, str | float] = {"operation": operation, "count": count, "timeout": timeout}
        answer = await self._http.get("/_sim/waiting", params=query, timeout=timeout + POLL_MARGIN)
        held: list[Json] = _checked(answer)["data"]
        if len(held) < count:
            raise TimeoutError(f"{len(held)} calls of {operation} were held after {timeout} s, expected {count}")
        return held

    async def held(self, operation: str = "*") -> list[Json]:
        """The calls that are being held at this moment."""
        answer = await self._http.get("/_sim/waiting", params={"operation": operation, "count": 0})
        data: list[Json] = _checked(answer)["data"]
        return data

    async def release(self, operation: str = "*", id_: str | None = None) -> int:
        return int((await self._post("release", {"operation": operation, "id": id_}))["released"])

    async def faults(self) -> list[Json]:
        """All armed faults with `seen` and `hits`."""
        data: list[Json] = (await self._get("faults"))["data"]
        return data

    async def clear_faults(self, id_: str | None = None) -> int:
        answer = await self._http.delete("/_sim/faults", params={} if id_ is None else {"id": id_})
        return int(_checked(answer)["cleared"])

    async def reword(self, name: str, **changes: Any) -> None:
        """Change status, type, code, param or message of one error of the catalogue."""
        await self._post("wording", {name: changes})

    async def restore_wording(self) -> None:
        _checked(await self._http.delete("/_sim/wording"))

    async def tune(self, **changes: Any) -> Json:
        """Keys, limits and latency from now on; `tuning.py` lists them. Returns all of them as they are then."""
        return _checked(await self._http.patch("/_sim/tuning", json=changes))

    # --- webhooks -----------------------------------------------------------------------------------------------------

    async def add_webhook_endpoint(
        self, url: str, secrets: list[str], types: list[str] | None = None, connect: bool = False, **settings: Any
    ) -> str:
        """Returns the endpoint's id. `knobs`: see `endpoints.Knobs`; `payload`: snapshot or thin."""
        body = {"url": url, "secrets": secrets, "types": types or ["*"], "connect": connect, **settings}
        return str((await self._post("webhook_endpoints", body))["id"])

    async def change_webhook_endpoint(self, id_: str, **changes: Any) -> Json:
        answer = await self._http.patch(f"/_sim/webhook_endpoints/{id_}", json=changes)
        return _checked(answer)

    async def remove_webhook_endpoint(self, id_: str) -> None:
        _checked(await self._http.delete(f"/_sim/webhook_endpoints/{id_}"))

    async def deliveries(self) -> list[Json]:
        data: list[Json] = (await self._get("deliveries"))["data"]
        return data

    async def flush_webhooks(self, shuffle_seed: int | None = None) -> int:
        """Deliver what is queued, due or not, paused or not; optionally in a random order."""
        return int((await self._post("deliveries/flush", {"shuffle_seed": shuffle_seed}))["flushed"])

    async def webhooks_quiet(self, timeout: float = 30.0) -> None:
        """Wait until nothing is queued or under way, retries included. Raises TimeoutError."""
        answer = await self._http.get("/_sim/deliveries/quiet", params={"timeout": timeout}, timeout=timeout + POLL_MARGIN)
        state = _checked(answer)
        if not state["quiet"]:
            raise TimeoutError(f"{state['outstanding']} deliveries were still outstanding after {timeout} s")

    # --- looking inside -----------------------------------------------------------------------------------------------

    async def ledger(self) -> Json:
        """`{"transfers": […with all reversals], "balances": {holder: {bucket: {currency: amount}}}, "keys": n}`."""
        return await self._get("ledger")

    async def requests(self, operation: str = "*", key: str | None = None) -> list[Json]:
        """The log of calls, oldest first."""
        query = {"operation": operation} if key is None else {"operation": operation, "key": key}
        data: list[Json] = _checked(await self._http.get("/_sim/requests", params=query))["data"]
        return data

    async def violations(self) -> list[str]:
        """Empty, unless the simulator's own books are wrong."""
        found: list[str] = (await self._get("invariants"))["violations"]
        return found

    async def reset(self) -> None:
        await self._post("reset", {})

    async def snapshot(self, name: str) -> None:
        await self._post(f"snapshots/{name}", {})

    async def restore(self, name: str) -> None:
        await self._post(f"snapshots/{name}/restore", {})

    async def _get(self, path: str) -> Json:
        return _checked(await self._http.get(f"/_sim/{path}"))

    async def _post(self, path: str, body: Json) -> Json:
        return _checked(await self._http.post(f"/_sim/{path}", json=body))


class ControlRefused(Exception):
    """The simulator declined a control request; the message is its sentence."""


def _checked(answer: httpx.Response) -> Json:
    body: Json = answer.json()
    if answer.is_error:
        raise ControlRefused(str(body.get("error", body)))
    return body
