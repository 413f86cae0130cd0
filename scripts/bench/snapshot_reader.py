"""Reader of the whole log, again and again, each time in one REPEATABLE READ transaction, as an
export or `verify` reads it.

`python -m scripts.bench.snapshot_reader URL FACTS_PER_SECOND`; 0 facts per second: without a limit.
"""

import sys
import time

from infrastructure.postgres.integrity.snapshot import snapshot

PAGE = (
    b"select notification_id, topic, state, digest from ledger_events where notification_id > %s "
    b"order by notification_id limit 500"
)
AT_THE_END = 0.2


def main(database_url: str, facts_per_second: float) -> None:
    """Read until this process is ended; print a line when the first transaction is open."""
    first = True
    while True:
        with snapshot(database_url) as seen:
            if first:
                print("reading", flush=True)
            first, position = False, 0
            while rows := seen.connection.execute(PAGE, (position,)).fetchall():
                position = rows[-1][0]
                time.sleep(len(rows) / facts_per_second if facts_per_second else 0)
            time.sleep(AT_THE_END)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
