"""Entry point: `python -m scripts`, installed as `transfer-ledger`."""

import sys
from collections.abc import Sequence

from scripts.cli import app
from scripts.one_line_errors import one_line_errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. An error that the user can correct is one line on standard error, and exit
    code 2."""
    with one_line_errors():
        code = app(arguments, prog_name="transfer-ledger", standalone_mode=False)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
