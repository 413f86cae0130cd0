"""Log configuration: readable lines on a terminal, JSON elsewhere, always on standard error, always
with the mode. The lines of libraries have the same form as ours."""

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from infrastructure.log_stream import LogStream
from infrastructure.redaction import hide

STANDARD_ERROR: Final = LogStream(2)
LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""Values of LEDGER_LOG_LEVEL. Lines of libraries are logged from `warning` on."""
SPARSE_SECONDS = 60.0
"""Interval in which an equal message about malformed requests is logged once: any client on the
network can cause such a message."""


def level_in(environment: Mapping[str, str]) -> int:
    """Return the level that LEDGER_LOG_LEVEL names; `settings_from` refuses a wrong one."""
    return LEVELS.get(environment.get("LEDGER_LOG_LEVEL", "").strip().lower(), logging.INFO)


def configure_logs(level: int = logging.INFO) -> None:
    """Configure the logs of the whole process, once, at its start."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # plain: a traceback with local variables would log amounts and names
        structlog.processors.format_exc_info,
    ]
    renderer = _without_secrets(
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if STANDARD_ERROR.isatty()
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # a LogStream writes and flushes as a text file does
        logger_factory=structlog.WriteLoggerFactory(STANDARD_ERROR),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    logging.raiseExceptions = False  # a line that cannot be formatted must not end its caller
    handler = logging.StreamHandler(STANDARD_ERROR)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("uvicorn.error").addFilter(Sparse())


def _without_secrets(render: Processor) -> Processor:
    def rendered(logger: WrappedLogger, method: str, event: EventDict) -> str:
        return hide(str(render(logger, method, event)))

    return rendered


class Sparse(logging.Filter):
    """Filter that passes each message once in `SPARSE_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        message, now = str(record.msg), monotonic()
        if record.exc_info or now - self._logged.get(message, -SPARSE_SECONDS) >= SPARSE_SECONDS:
            self._logged[message] = now
            return True
        return False


def name_mode(mode: str) -> None:
    """Add the mode (simulator, test or live) to every following log line."""
    structlog.contextvars.bind_contextvars(mode=mode)
