"""Advisories about the pinned packages, as information: `python3 scripts/dev.py audit`.

pip-audit is installed into an environment of its own, so that its packages are no part of the
project. Standard library only. The exit code is always 0: an advisory may not concern this program,
and a machine may not reach the advisory service.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PINS = Path(__file__).resolve().parent.parent / "constraints.txt"
WITHIN_SECONDS = 300


def main() -> int:
    """Print the advisories about the pins, or one sentence if they cannot be read."""
    with tempfile.TemporaryDirectory(prefix="ledger-audit-") as directory:
        venv.create(directory, symlinks=True, with_pip=False)
        python = str(Path(directory, "bin", "python"))
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
        installed = _run([*pip, "install", "-qq", "pip-audit"])
        if installed.returncode:
            print(unread("pip cannot install pip-audit", installed.stderr))
            return 0
        options = ["--requirement", str(PINS), "--no-deps", "--disable-pip"]
        audited = _run(
            [python, "-m", "pip_audit", *options, "--format", "json", "--progress-spinner", "off"]
        )
    # pip-audit exits with 1 both when it finds an advisory and when it cannot ask for them
    print(told(audited.stdout) or unread("pip-audit has no answer", audited.stderr))
    return 0


def told(answer: str) -> str | None:
    """Return the advisories that pip-audit's answer contains, as lines; None if it is no answer."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None
    asked = [package for package in packages if "vulns" in package]
    if not asked:
        reason = f"the advisory service knows none of {len(packages)} packages"
        return f"No advisories could be read: {reason}. Nothing is known."
    unknown = [package["name"] for package in packages if "vulns" not in package]
    lines = [
        f"{package['name']} {package['version']}: {advisory['id']}, fixed in "
        f"{', '.join(advisory['fix_versions']) or 'no version'}"
        for package in asked
        for advisory in package["vulns"]
    ]
    lines.append(f"{len(lines)} advisories about {len(asked)} packages.")
    if unknown:
        lines.append(f"Nothing is known about {', '.join(unknown)}.")
    return "\n".join(lines)


def unread(reason: str, messages: str) -> str:
    """Return the sentence that says why there is no result, with the last message of the tool."""
    last = next((line for line in reversed(messages.splitlines()) if line.strip()), "no message")
    return f"No advisories could be read: {reason} ({last.strip()[:200]}). Nothing is known."


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        said = f"no end within {WITHIN_SECONDS} s"
        return subprocess.CompletedProcess(command, 2, "", said)


if __name__ == "__main__":
    sys.exit(main())
