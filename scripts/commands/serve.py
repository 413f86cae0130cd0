"""Commands `serve` and `worker`: the two long-lived processes."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import structlog
import typer
import uvicorn

from infrastructure import garbage_collection
from infrastructure.bootstrap import running
from infrastructure.service import Service
from infrastructure.settings import Settings, require_token_for_real_money
from infrastructure.simulators.selection import deliver_webhooks
from infrastructure.systemd import Systemd
from infrastructure.traces import start_traces
from infrastructure.web.app import HEALTH, application_of
from infrastructure.web.http_protocol import BoundedProtocol
from infrastructure.web.operation import ApiOperation
from infrastructure.web.routes import OPERATIONS
from scripts.commands.command import command, new_app
from scripts.commands.options import read_settings
from scripts.exit_codes import DEFECT, fail

GRACE_SECONDS = 10
"""Time for open HTTP requests after SIGTERM."""
LookUpFirst = Annotated[
    bool,
    typer.Option(
        "--look-up-first",
        help="After a restore from a backup or a change of the Stripe key: each process of this "
        "database looks a transfer up at Stripe before it sends anything for it, until "
        "`transfer-ledger resume --look-up-first`.",
    ),
]
app = new_app()
log = structlog.get_logger()


class DrainedServer(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process before the workers have
    drained."""

    def __init__(self, config: uvicorn.Config, systemd: Systemd | None = None) -> None:
        super().__init__(config)
        self._systemd = systemd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._systemd is not None:
            self._systemd.ready("serving")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._systemd is not None:
            self._systemd.stopping()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@command(app, "DATABASE_URL=postgresql://ledger@db/ledger transfer-ledger serve")
def serve(look_up_first: LookUpFirst = False) -> None:
    """Run the web interface, the webhook inbox and the workers in one process, until SIGTERM drains
    it."""
    settings = read_settings()
    require_token_for_real_money(settings)
    listening = _listening(settings)
    _run(lambda: _serve(settings, listening, look_up_first))


@command(app, "transfer-ledger worker")
def worker(look_up_first: LookUpFirst = False) -> None:
    """Run the inbox and the workers next to a `serve` process of the same database, until SIGTERM
    drains them."""
    settings = read_settings()
    port = settings.worker_metrics_port
    listening = _listening(replace(settings, port=port)) if port is not None else None
    _run(lambda: _work(settings, listening, look_up_first))


def _run(main: Callable[[], Coroutine[None, None, None]]) -> None:
    start_traces(os.environ)
    loop = uvicorn.Config("unused", log_config=None).get_loop_factory()
    garbage_collection.tune()
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def _serve(settings: Settings, listening: socket.socket, look_up_first: bool) -> None:
    systemd = Systemd()
    async with running(settings, look_up_first=look_up_first) as service:
        server = DrainedServer(_uvicorn(service), systemd)
        _on_signal(lambda: _end(service, server))
        ending = asyncio.create_task(_end_after_failure(service, server))
        host, port = listening.getsockname()[:2]
        if service.psp_url is not None and service.psp_builtin:
            here = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
            await deliver_webhooks(
                service.psp_url,
                f"{here}/webhooks/hyperswitch",
                service.settings.hyperswitch_webhook_secrets[0],
            )
        listening.listen(server.config.backlog)  # a caller may connect as soon as it reads the line
        log.info(
            "serving", url=f"http://{host}:{port}", stripe=service.stripe_url, psp=service.psp_url
        )
        async with systemd.watching(service.running):
            await server.serve([listening])
        ending.cancel()
        log.info("draining")
    _finish(service)


async def _work(settings: Settings, listening: socket.socket | None, look_up_first: bool) -> None:
    systemd = Systemd()
    async with running(settings, look_up_first=look_up_first) as service:
        stopping = asyncio.Event()
        _on_signal(stopping.set)
        log.info("working", stripe=service.stripe_url, psp=service.psp_url)
        async with _health_page(service, listening), systemd.watching(service.running):
            systemd.ready("working")
            ends = [asyncio.create_task(event.wait()) for event in (stopping, service.failed)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
            systemd.stopping()
            log.info("draining")
    _finish(service)


@contextlib.asynccontextmanager
async def _health_page(service: Service, listening: socket.socket | None) -> AsyncIterator[None]:
    """Answer `/healthz`, `/readyz` and `/metrics` of a worker."""
    if listening is None:
        yield
        return
    server = DrainedServer(_uvicorn(service, HEALTH))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _uvicorn(service: Service, operations: Sequence[ApiOperation] = OPERATIONS) -> uvicorn.Config:
    return uvicorn.Config(
        application_of(service, operations),
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        http=BoundedProtocol,
        ws="none",
    )


async def _end_after_failure(service: Service, server: uvicorn.Server) -> None:
    await service.failed.wait()
    _end(service, server)


def _end(service: Service, server: uvicorn.Server) -> None:
    """Let the web server end: it first waits for open requests, so those that wait for facts
    end."""
    server.should_exit = True
    service.news.end()


def _finish(service: Service) -> None:
    """Log the end. After a loop has ended unasked, exit with 70, so that a supervisor restarts the
    process."""
    if service.failed.is_set():
        fail("A loop of the ledger has ended unasked; see the log, and restart.", DEFECT)
    log.info("drained")


def _on_signal(act: Callable[[], None]) -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, act)


def _listening(settings: Settings) -> socket.socket:
    """Bind the port before anything else starts, so that the error for a port in use is one
    sentence."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(
            family, socket.SOCK_STREAM, socket.IPPROTO_TCP
        )  # asyncio: TCP_NODELAY only for proto TCP
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        fail(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose "
            "another LEDGER_HOST or LEDGER_PORT."
        )
    return listening
