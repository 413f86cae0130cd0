"""The log line `serving`: a caller that reads it can connect at once."""

import os
import signal
import socket
from urllib.parse import urlsplit

from structlog.testing import capture_logs
from structlog.typing import EventDict, WrappedLogger

from infrastructure.settings import settings_from
from infrastructure.simulators.stripe import running_simulator
from scripts.commands.serve import _listening, _serve
from tests.support.ledger_process import free_port


async def test_port_takes_connections_when_the_line_is_written(database_url: str) -> None:
    environment = {"DATABASE_URL": database_url, "LEDGER_PORT": str(free_port())}
    refused: list[OSError | None] = []

    def connect(logger: WrappedLogger, name: str, line: EventDict) -> EventDict:
        if line["event"] == "serving":
            url = urlsplit(line["url"])
            try:
                socket.create_connection((url.hostname, url.port), 5).close()
                refused.append(None)
            except OSError as error:
                refused.append(error)
            os.kill(os.getpid(), signal.SIGTERM)  # `serve` drains
        return line

    async with running_simulator() as (stripe, _):
        settings = settings_from({**environment, "STRIPE_API_BASE": stripe.url})
        with capture_logs([connect]):
            await _serve(settings, _listening(settings), False)
    assert refused == [None]
