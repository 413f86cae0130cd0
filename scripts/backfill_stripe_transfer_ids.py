"""Script `python scripts/backfill_stripe_transfer_ids.py [--apply] [--review FILE]`, the same as
`transfer-ledger backfill`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.__main__ import main

if __name__ == "__main__":
    main(["backfill", *sys.argv[1:]])
