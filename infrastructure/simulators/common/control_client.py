"""Client of the `/_sim/*` routes that all simulators share."""

from types import TracebackType
from typing import Any, Self, TypeAlias

import httpx

Json: TypeAlias = dict[str, Any]

POLL_MARGIN = 10.0
"""Seconds that the client waits in addition to the time of its long poll."""


class ControlClient:
    """Every method is one request; each raises `ControlRefused` with the simulator's message when
    it declines."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def advance_clock(self, seconds: float) -> float:
        return float((await self._post("clock", {"seconds": seconds}))["now"])

    # --- faults -----------------------------------------------------------------------------------

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
        """Arm a fault and return its id. `action` holds the settings of its kind (see
        `fault_actions.py`)."""
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
        return str(
            (await self._post("faults", {"match": match, "action": {"kind": kind, **action}}))["id"]
        )

    async def hold(
        self, operation: str = "*", point: str = "before_commit", times: int = 1, **settings: Any
    ) -> str:
        """Stop the next request (or `times` requests) at the point until `release`.
        `on_disconnect`: abandon, execute or wait."""
        return await self.fault("hold", operation, times=times, point=point, **settings)

    async def wait_until_held(
        self, operation: str = "*", count: int = 1, timeout: float = 30.0
    ) -> list[Json]:
        """Return the stopped requests. Raises TimeoutError when there are fewer than `count` after
        `timeout` seconds."""
        query: dict[str, str | float] = {"operation": operation, "count": count, "timeout": timeout}
        answer = await self._http.get("/_sim/waiting", params=query, timeout=timeout + POLL_MARGIN)
        held: list[Json] = checked(answer)["data"]
        if len(held) < count:
            raise TimeoutError(
                f"{len(held)} requests of {operation} were stopped after {timeout} s, expected "
                f"{count}"
            )
        return held

    async def held(self, operation: str = "*") -> list[Json]:
        """Return the requests that are stopped at this moment."""
        return await self._list("waiting", operation=operation, count=0)

    async def release(self, operation: str = "*", id_: str | None = None) -> int:
        return int((await self._post("release", {"operation": operation, "id": id_}))["released"])

    async def faults(self) -> list[Json]:
        """Return all armed faults with `seen` and `hits`."""
        return await self._list("faults")

    async def clear_faults(self, id_: str | None = None) -> int:
        answer = await self._http.delete("/_sim/faults", params={} if id_ is None else {"id": id_})
        return int(checked(answer)["cleared"])

    async def reword(self, name: str, **changes: Any) -> None:
        """Change status, type, code, param or message of one error in the catalogue."""
        await self._post("wording", {name: changes})

    async def restore_wording(self) -> None:
        checked(await self._http.delete("/_sim/wording"))

    # --- deliveries -------------------------------------------------------------------------------

    async def deliveries(self) -> list[Json]:
        return await self._list("deliveries")

    async def flush_webhooks(self, shuffle_seed: int | None = None, types: str = "*") -> int:
        """Send the queued deliveries (of the types, a glob), due or not, paused or not; optionally
        in a random order."""
        return int(
            (await self._post("deliveries/flush", {"shuffle_seed": shuffle_seed, "types": types}))[
                "flushed"
            ]
        )

    async def webhooks_quiet(self, timeout: float = 30.0) -> None:
        """Wait until nothing is queued or under way, retries included. Raises TimeoutError."""
        answer = await self._http.get(
            "/_sim/deliveries/quiet", params={"timeout": timeout}, timeout=timeout + POLL_MARGIN
        )
        state = checked(answer)
        if not state["quiet"]:
            raise TimeoutError(
                f"{state['outstanding']} deliveries were still outstanding after {timeout} s"
            )

    # --- the simulator's state --------------------------------------------------------------------

    async def requests(self, operation: str = "*", key: str | None = None) -> list[Json]:
        """Return the request log, oldest first."""
        return await self._list(
            "requests", operation=operation, **({} if key is None else {"key": key})
        )

    async def ledger(self) -> Json:
        """Return every object that the provider has."""
        return await self._get("ledger")

    async def reset(self) -> None:
        await self._post("reset", {})

    async def _get(self, path: str, **query: str | int) -> Json:
        return checked(await self._http.get(f"/_sim/{path}", params=query))

    async def _list(self, path: str, **query: str | int) -> list[Json]:
        data: list[Json] = (await self._get(path, **query))["data"]
        return data

    async def _post(self, path: str, body: Json) -> Json:
        return checked(await self._http.post(f"/_sim/{path}", json=body))


class ControlRefused(Exception):
    """The simulator declined a control request; the message is the simulator's."""


def checked(answer: httpx.Response) -> Json:
    """Return the JSON of the answer. Raises ControlRefused for an error."""
    body: Json = answer.json()
    if answer.is_error:
        raise ControlRefused(str(body.get("error", body)))
    return body
