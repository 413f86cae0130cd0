"""`python -m scripts`, installed as `transfer-ledger`."""

from infrastructure.log_config import configure_logs
from scripts.cli import app
from scripts.exit_codes import one_line_errors


def main() -> None:
    """Run the command line; what the user can mend is one sentence and exit code 2."""
    configure_logs()
    with one_line_errors():
        app(prog_name="transfer-ledger")


if __name__ == "__main__":
    main()
