"""Version of the release that runs."""

from importlib.metadata import version

DISTRIBUTION = "transfer-ledger"


def release() -> str:
    """Return the version of the installed package."""
    return version(DISTRIBUTION)
