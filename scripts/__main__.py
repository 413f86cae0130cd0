"""`python -m scripts`, installed as `transfer-ledger`."""

from infrastructure.logs import configure_logs
from scripts.cli import app
from scripts.exits import one_line_errors


def main() -> None:
    """Run the command line; what the user can mend is one sentence and exit code 2."""
    configure_logs()
    with one_line_errors():
        app(prog_name="transfer-ledger")


if __name__ == "__main__":
    main()
