"""The order in which Hyperswitch processes a request, with the points at which faults act."""

import orjson

from infrastructure.simulators.common.exchange import Exchange
from infrastructure.simulators.common.fault_actions import Point
from infrastructure.simulators.common.forms import read_pairs
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Answer
from infrastructure.simulators.hyperswitch.operations import PspOperation, subject_of
from infrastructure.simulators.hyperswitch.requests import json_of
from infrastructure.simulators.hyperswitch.world import PspWorld


class PspExchange(Exchange[PspWorld, PspOperation]):
    """One request to Hyperswitch."""

    _body = b""

    def read_head(self, headers: dict[str, str], query: bytes) -> None:
        self.request.sent = {"headers": headers, "query": query.decode("latin-1"), "body": ""}
        self.request.pairs = read_pairs(query)
        self.request.api_key = headers.get("api-key")
        self.request.key = headers.get("idempotency-key")

    def read_body(self, body: bytes) -> None:
        self._body = body
        self.request.sent["body"] = body.decode("utf-8", "replace")

    async def process(self) -> Answer:
        await self.fault(Point.ARRIVAL)
        self._authenticate()
        self.world.admit()
        await self.fault(Point.ADMISSION)
        self.request.params = json_of(self._body)
        await self.fault(Point.BEFORE_EXECUTION)
        async with self.world.locks.holding(
            subject_of(self.request) if self.operation.writes else None
        ):
            await self.fault(Point.BEFORE_COMMIT)
            self.check_epoch()
            answer = Answer(200, orjson.dumps(self.operation.execute(self.world, self.request)))
            self.world.commit()
        await self.fault(Point.AFTER_COMMIT)
        return answer

    def _authenticate(self) -> None:
        key, accepted = self.request.api_key, self.world.config.accepted_keys
        if not key or key.startswith("pk_") or (accepted is not None and key not in accepted):
            raise Refusal("unauthorized")
