"""Ports of the application, read from its modules: so that a new one cannot be forgotten."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import application

NO_ADAPTER = {
    "Monitor", "ProcessManager", "SplitHandler", "OrdersWithTransfers", "AdoptCommand",
    "BackfillCommand", "SplitReads", "KnownToLedger", "Intake", "BulkJobs",
}  # fmt: skip
"""Protocols that the application itself implements, and those that name methods of other
ports. A process that dies in a bulk job has tests of its own: `test_bulk.py`."""


def coroutines_of(port: type) -> list[str]:
    """Return the names of the coroutine methods that a port declares."""
    return [name for name, method in vars(port).items() if inspect.iscoroutinefunction(method)]


def ports_with_adapters() -> Iterator[type]:
    """Yield the protocols of the application by which a process reaches the outside."""
    for module in pkgutil.walk_packages(application.__path__, "application."):
        for _, kind in inspect.getmembers(import_module(module.name), inspect.isclass):
            is_protocol = getattr(kind, "_is_protocol", False)
            ours = is_protocol and kind.__module__ == module.name
            if ours and any(map(coroutines_of, kind.__mro__)) and kind.__name__ not in NO_ADAPTER:
                yield kind
