"""Entry point: `python -m scripts`, installed as `transfer-ledger`."""

from collections.abc import Sequence

from scripts.cli import app
from scripts.exit_codes import one_line_errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. An error that the user can correct is one line on standard error, and exit
    code 2."""
    with one_line_errors():
        app(arguments, prog_name="transfer-ledger")


if __name__ == "__main__":
    main()
