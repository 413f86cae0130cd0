"""Script `python scripts/rebuild_projection.py [--dry-run] [TABLE...]`, the same as
`transfer-ledger rebuild`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.__main__ import main

if __name__ == "__main__":
    main(["rebuild", *sys.argv[1:]])
