"""An operation of a provider's API, a request, and its answer."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from infrastructure.simulators.common.forms import Form, Pairs

Params: TypeAlias = dict[str, Any]
LogEntry: TypeAlias = dict[str, Any]
"""One line of the request log."""


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """Name, method and path template, such as `transfers.retrieve`, `GET`,
    `/v1/transfers/{transfer}`."""

    name: str
    method: str
    path: str


@dataclass(slots=True)
class Answer:
    """Status, body and headers as they are sent."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(slots=True)
class ApiRequest:
    """One request. `form` is as sent, `params` as validated (empty until then)."""

    operation: str
    method: str
    path: str
    target: dict[str, str]
    """Ids in the path: `transfer`, `reversal`, `id`."""
    request_id: str
    at: float
    """Simulated time of arrival."""
    started: float
    """The same on the steady clock."""
    pairs: Pairs = field(default_factory=list)
    form: Form = field(default_factory=dict)
    api_key: str | None = None
    key: str | None = None
    """The Idempotency-Key; None for reads, where Stripe ignores the header."""
    account: str | None = None
    """The Stripe-Account header."""
    version: str | None = None
    params: Params = field(default_factory=dict)
    other_mode: bool = False
    """True for a live key where test mode is simulated, and for a test key where live mode is."""
    original: str | None = None
    """Id of the request that first used the key, when its answer is repeated."""
    sent: dict[str, object] = field(default_factory=dict)
    """Headers, query and body as sent, for the request log."""

    @property
    def destination(self) -> str | None:
        value = self.form.get("destination")
        return value if isinstance(value, str) else None

    @property
    def transfer(self) -> str | None:
        return self.target.get("transfer")

    @property
    def key_id(self) -> str:
        return f"{'other mode|' if self.other_mode else ''}{self.account or ''}|{self.key}"

    def fingerprint(self) -> str:
        """Return a text that is equal for requests with the same method, path and parameters, in
        any order."""
        return f"{self.method} {self.path} {sorted(self.pairs)}"


class EarlyAnswer(Exception):
    """A fault or a refusal ends the request here with this answer."""

    def __init__(self, answer: Answer, stored: bool = False) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.stored = stored
        """True if the idempotency key will repeat the answer."""


class ConnectionEnded(Exception):
    """The connection ends here without an answer: reset (RST) or closed (FIN)."""

    def __init__(self, reset: bool) -> None:
        super().__init__("reset" if reset else "closed")
        self.reset = reset
