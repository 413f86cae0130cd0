"""Errors of storage, in addition to the tree in `domain.errors`.

LedgerError
└── WrongBinding     this database belongs to another mode or account
"""

from domain.errors import LedgerError


class WrongBinding(LedgerError):
    """This database belongs to another mode or account; its money must not be mixed with that of
    the present key."""

    code = "wrong_binding"

    def __init__(self, what: str, bound: str, asked: str) -> None:
        self.what, self.bound, self.asked = what, bound, asked
        super().__init__(
            f"This database holds data of {what} {bound!r}, but {_present_key(what, asked)}. Use a "
            f"key of {what} {bound!r}, or a new, empty database."
        )


def _present_key(what: str, asked: str) -> str:
    if (what, asked) == ("mode", "simulator"):
        return "STRIPE_API_KEY is not set, so this process would use the simulator"
    return f"STRIPE_API_KEY is of {what} {asked!r}"
