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
            f"This database belongs to {what} {bound!r}, but the present key is of {what} "
            f"{asked!r}; "
            f"use the key of {bound!r}, or another database."
        )
