"""Parts of an idempotency key: `transfer:<id>:e<epoch>:<ledger>`, and the same for reversals."""


def epoch_of(key: str) -> str:
    """Return the epoch, such as `e1`."""
    return key.split(":")[2]


def without_ledger(key: str) -> str:
    """Return the part of the key that does not depend on the database."""
    return ":".join(key.split(":")[:3])
