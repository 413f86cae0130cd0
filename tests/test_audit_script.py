"""Script `scripts/audit.py`: advisories inform, and never stop anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

from scripts.audit import told, unread

ROOT = Path(__file__).parent.parent


def test_advisories_are_told_with_their_fixes() -> None:
    answer = {
        "dependencies": [
            {"name": "sound", "version": "1.0", "vulns": []},
            {
                "name": "worn",
                "version": "2.0",
                "vulns": [
                    {"id": "PYSEC-1", "fix_versions": ["2.1", "3.0"], "description": "long"},
                    {"id": "GHSA-2", "fix_versions": []},
                ],
            },
            {"name": "odd", "skip_reason": "it is not on the index"},
        ]
    }
    assert told(json.dumps(answer)) == (
        "worn 2.0: PYSEC-1, fixed in 2.1, 3.0\n"
        "worn 2.0: GHSA-2, fixed in no version\n"
        "2 advisories about 2 packages.\n"
        "Nothing is known about odd."
    )


def test_answer_without_advisories_is_no_answer() -> None:
    for answer in ("", "ERROR", "[]", "{}"):
        assert told(answer) is None
    unasked = told('{"dependencies": [{"name": "odd", "skip_reason": "not on the index"}]}')
    assert unasked is not None
    assert unasked.startswith("No advisories could be read: the advisory service knows none of 1")
    assert unread("the tool has no answer", "first\nERROR: no network\n\n") == (
        "No advisories could be read: the tool has no answer (ERROR: no network). Nothing is known."
    )


def test_machine_without_package_index_gets_one_sentence() -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "audit.py")],
        capture_output=True,
        text=True,
        env=os.environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("No advisories could be read: pip cannot install pip-audit (")
    assert len(ended.stdout.splitlines()) == 1
