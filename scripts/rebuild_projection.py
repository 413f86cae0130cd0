"""`python scripts/rebuild_projection.py [--dry-run] [TABLE...]`: the same as `transfer-ledger rebuild`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.cli import app
from scripts.exit_codes import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        app(["rebuild", *sys.argv[1:]], prog_name="transfer-ledger")
