"""Exit codes: 0 success, 1 the command found something wrong, 2 the command could not run as asked,
70 a part of a process ended unasked, 75 the command cannot run now: the same command may succeed
later."""

import sys
from typing import NoReturn

from infrastructure.redaction import hide
from infrastructure.visible_text import visible

FOUND, USAGE, DEFECT, NOT_NOW = 1, 2, 70, 75


def fail(sentence: str, code: int = USAGE) -> NoReturn:
    """Print one line, if any, on standard error, and exit with 2 or another code."""
    if sentence:
        sys.stderr.write(f"{visible(hide(sentence))}\n")
    sys.exit(code)
