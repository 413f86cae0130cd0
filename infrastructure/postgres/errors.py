"""What storage adds to the tree in `domain.errors`.

LedgerError
└── WrongBinding     this database belongs to another mode or account
"""

from domain.errors import LedgerError, Unavailable


class WrongBinding(LedgerError):
    """This database was first started with another mode or account; mixing two would mix their money."""

    code = "wrong_binding"

    def __init__(self, what: str, bound: str, asked: str) -> None:
        self.what, self.bound, self.asked = what, bound, asked
        super().__init__(
            f"This database belongs to {what} {bound!r}, but the present key is of {what} {asked!r}; "
            f"use the key of {bound!r}, or another database."
        )


__all__ = ["Unavailable", "WrongBinding"]
