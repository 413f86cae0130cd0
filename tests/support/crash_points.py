"""Crash points: the moments before and after each call of a port and each answer to a caller, at
which a process of the tests kills itself.

The product has no part in this. A preforked process (`preforked.py`) that is given a `CrashFile`
wraps the methods of its adapters, tells in the file the points that it reaches, and sends itself
SIGKILL at the point that the test has armed. A port is a step by its nature: the process acts on
PostgreSQL, Stripe and the PSP only through ports, and on its callers only by answers, so a kill
between two of these moments leaves the same traces as a kill at one of them.
"""

import asyncio
import mmap
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import psycopg
from starlette.types import Message, Receive, Scope, Send

from application import gateways, ports
from application.backfill import backfill
from application.legacy_import import importer
from application.missed_webhooks import ports as missed
from application.reconciliation import ports as reconciliation
from application.webhooks import retention
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.postgres.alarms import PostgresAlarms
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.imported_transfers import ImportedTransfers
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.reconciliation import LedgerRows, SeenAtStripe
from infrastructure.postgres.webhook_polls import PostgresWebhookPolls
from infrastructure.postgres.work_queue import PostgresWorkQueue
from infrastructure.stripe.gateway import StripeGateway
from infrastructure.web.auth import BearerToken
from infrastructure.web.middleware import OPERATION
from tests.support.application_ports import coroutines_of

ADAPTERS: Mapping[type, type] = {
    ports.EventLog: PostgresEventLog,
    ports.WorkQueue: PostgresWorkQueue,
    ports.Inbox: PostgresInbox,
    ports.Directory: PostgresDirectory,
    ports.Alarms: PostgresAlarms,
    ports.RateLimiter: PostgresRateLimiter,
    ports.CircuitBreaker: PostgresCircuitBreaker,
    gateways.TransferGateway: StripeGateway,
    gateways.ChargeReader: StripeGateway,
    gateways.StripeBooks: StripeGateway,
    gateways.PaymentGateway: HyperswitchGateway,
    missed.PollProgress: PostgresWebhookPolls,
    missed.PolledInbox: PostgresInbox,
    missed.StripeEvents: StripeGateway,
    missed.KnownRefunds: PostgresDirectory,
    missed.KnownDisputes: PostgresDirectory,
    missed.UnpaidOrders: PostgresDirectory,
    retention.WebhookBodies: PostgresInbox,
    reconciliation.OurRows: LedgerRows,
    reconciliation.SeenTransfers: SeenAtStripe,
    importer.RecordedTransfers: ImportedTransfers,
    backfill.PaidRows: LedgerRows,
}
"""The adapter of each port by which a process reaches PostgreSQL, Stripe or the PSP."""
CRASH_FILE, COMMAND = "CRASH_FILE", "CRASH_COMMAND"
"""Environment variables: the path of the file; the name of a command, whose points begin with it,
and of which each statement that writes is a point as well."""
ANSWER = "Answer.sent"
"""The step of an answer to a request that changes something: its caller may rely on it."""
ROOM = 4096
WRITES = ("insert", "update", "delete", "create", "drop", "alter", "copy", "select ledger_append")

Method = Callable[..., Awaitable[object]]


class CrashFile:
    """The armed point, and the points that were reached, shared by a test and its processes."""

    def __init__(self, path: Path) -> None:
        self._path, self._told = path, path.with_suffix(".reached")
        self.folder = path.parent
        if not path.exists():
            path.write_bytes(bytes(ROOM))
        with path.open("r+b") as file:
            self._armed = mmap.mmap(file.fileno(), ROOM)
        self._reached = os.open(self._told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @property
    def environment(self) -> dict[str, str]:
        return {CRASH_FILE: str(self._path)}

    def arm(self, point: str) -> None:
        """Let the next process that reaches this point be killed there."""
        self._armed[:] = point.encode()[: ROOM - 1].ljust(ROOM, b"\0")

    def disarm(self) -> None:
        self._armed[:] = bytes(ROOM)

    def reached(self) -> list[str]:
        """Return the points reached since the last question, in the order of their first time."""
        told = self._told.read_text().splitlines()
        os.truncate(self._told, 0)
        return list(dict.fromkeys(told))

    def count(self, point: str) -> int:
        """Return how often the point was reached since the last question."""
        return self._told.read_text().splitlines().count(point)

    def pass_by(self, point: str) -> None:
        """Tell that the process is at this point; kill it if the point is armed."""
        os.write(self._reached, point.encode() + b"\n")
        if self._armed[:ROOM].rstrip(b"\0") == point.encode():
            os.kill(os.getpid(), signal.SIGKILL)


def steps() -> Iterator[tuple[str, type, str]]:
    """Yield each step as (`Port.method`, adapter, method); a method of two ports is one step."""
    seen: set[tuple[type, str]] = set()
    for port, adapter in ADAPTERS.items():
        for name in coroutines_of(port):
            if (adapter, name) not in seen:
                seen.add((adapter, name))
                yield f"{port.__name__}.{name}", adapter, name


def step_of(point: str) -> str:
    """Return `Port.method` of a point."""
    return point.rpartition(": ")[2].partition("(")[0].partition(" ")[0]


def side_of(point: str) -> str:
    return point.rpartition(" ")[2]


# --- in the process that is killed ----------------------------------------------------------------


def install(environment: Mapping[str, str]) -> None:
    """Wrap the adapters of this process, if the test gave it a file."""
    if CRASH_FILE not in environment:
        return
    file, command = CrashFile(Path(environment[CRASH_FILE])), environment.get(COMMAND)
    prefix = f"{command}: " if command else ""
    for step, adapter, name in steps():
        setattr(adapter, name, _wrapped(file, prefix, step, getattr(adapter, name)))
    BearerToken.__call__ = _answering(file)  # type: ignore[method-assign, assignment]
    if command:
        _wrap_statements(file, prefix)


def _answering(file: CrashFile) -> Callable[..., Awaitable[None]]:
    """Wrap the innermost middleware, which sees the path template of an operation."""
    inner = BearerToken.__call__

    async def called(self: BearerToken, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            is_end = message["type"] == "http.response.body" and not message.get("more_body")
            if is_end and scope["method"] == "POST":
                label = f"{ANSWER}({scope.get(OPERATION, 'refused')})"
                file.pass_by(f"{label} before")
                await send(message)
                await asyncio.sleep(0)  # uvloop writes at the end of its turn
                file.pass_by(f"{label} after")
            else:
                await send(message)

        await inner(self, scope, receive, sending)

    return called


def _wrapped(file: CrashFile, prefix: str, step: str, method: Method) -> Method:
    @wraps(method)
    async def called(self: object, *values: Any, **named: Any) -> object:
        label = prefix + step + _detail(step, self, values)
        file.pass_by(f"{label} before")
        answer = await method(self, *values, **named)
        if not _is_empty_claim(step, answer):
            file.pass_by(f"{label} after")
        return answer

    return called


def _detail(step: str, adapter: Any, values: tuple[Any, ...]) -> str:
    """Return the part of a label that tells calls of one method apart."""
    port, _, name = step.partition(".")
    if step == "EventLog.append":
        facts = [type(fact).__name__ for _, facts in values[0].changed() for fact in facts]
        marked = "; webhook handled" if len(values) > 1 and values[1].inbox else ""
        return f"({', '.join(dict.fromkeys(facts))}{marked})"
    if name == "put":
        return f"({values[2]})"
    if port == "WorkQueue" and name in ("renew", "release", "hold"):
        return f"({adapter._table})"
    if port == "WorkQueue" or name in ("reserve", "slow_down", "raise_alarm", "clear"):
        return f"({values[0]})"
    return ""


def _is_empty_claim(step: str, answer: Any) -> bool:
    if not step.endswith(".claim"):
        return False
    return not (answer.ids if hasattr(answer, "ids") else answer.events)


def _wrap_statements(file: CrashFile, prefix: str) -> None:
    """Make each statement that writes a point, for commands that write without a port."""
    blocking, awaited = psycopg.Cursor.execute, psycopg.AsyncCursor.execute

    def execute(self: Any, query: Any, *values: Any, **named: Any) -> Any:
        with _around(file, prefix, self, query):
            return blocking(self, query, *values, **named)

    async def execute_async(self: Any, query: Any, *values: Any, **named: Any) -> Any:
        with _around(file, prefix, self, query):
            return await awaited(self, query, *values, **named)

    psycopg.Cursor.execute = execute  # type: ignore[method-assign]
    psycopg.AsyncCursor.execute = execute_async  # type: ignore[method-assign]


@contextmanager
def _around(file: CrashFile, prefix: str, cursor: Any, query: Any) -> Iterator[None]:
    label = _statement(cursor, query)
    if label:
        file.pass_by(f"{prefix}{label} before")
    yield
    if label:
        file.pass_by(f"{prefix}{label} after")


def _statement(cursor: Any, query: Any) -> str:
    """Return the label of a statement that may write; empty for any other."""
    text = query if isinstance(query, str | bytes) else query.as_string(cursor)
    words = (text.decode() if isinstance(text, bytes) else text).split()
    plain = " ".join(words)[:60].lower()
    return f"SQL({plain})" if plain.startswith(WRITES) or "with " in plain[:5] else ""
