"""Log configuration: readable lines on a terminal, JSON elsewhere, always on standard error, always
with the mode."""

import logging
import sys

import structlog


def configure_logs() -> None:
    """Configure the logs of the whole process, once, at its start."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # plain: a traceback with local variables would log amounts and names
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if terminal
            else structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
    )


def name_mode(mode: str) -> None:
    """Add the mode (simulator, test or live) to every following log line."""
    structlog.contextvars.bind_contextvars(mode=mode)
