"""Parts of deploy/ at work: the health check of the image, the seal of the timer, and the roles of the
compose file."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Processes
from tests.scripts.test_command_line import paid_order
from tests.support.ledger_process import free_port
from tests.support.postgres_server import servers

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def health_check() -> list[str]:
    """The command of the image, with the Python of the tests."""
    (command,) = re.findall(r"^    CMD (\[.*\])$", (DEPLOY / "Containerfile").read_text(), re.M)
    return [sys.executable, *json.loads(command)[1:]]


async def checked(port: str) -> int:
    run = await asyncio.to_thread(
        subprocess.run, health_check(), env={"LEDGER_PORT": port}, capture_output=True
    )
    return run.returncode


async def test_health_check_of_the_image_asks_for_readiness(processes: Processes) -> None:
    process = await processes.start()
    await (await processes.talk(process)).http.get("/healthz")
    assert await checked(process.url.rsplit(":", 1)[1]) == 0
    assert await checked(str(free_port())) != 0


def sealed_position(directory: Path) -> int:
    (seal,) = directory.glob("seal-*Z.json")
    position: int = json.loads(seal.read_text())["position"]
    return position


async def test_timer_writes_a_seal(database_url: str, tmp_path: Path) -> None:
    await paid_order(database_url)
    unit = (DEPLOY / "systemd" / "transfer-ledger-seal.service").read_text()
    (line,) = re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", unit, re.MULTILINE)
    script = line.replace("$$", "$").replace("%%", "%")  # as systemd does
    script = script.replace(
        "/opt/transfer-ledger/bin/transfer-ledger", f"{sys.executable} -m scripts"
    )
    environment = {**os.environ, "DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)}
    shell = partial(subprocess.run, cwd=tmp_path, env=environment, check=True)
    await asyncio.to_thread(shell, ["/bin/sh", "-c", script])
    assert sealed_position(tmp_path) > 0


@pytest.mark.skipif(not shutil.which("psql"), reason="psql is not installed")
def test_compose_makes_the_roles_of_the_guide() -> None:
    with servers() as (server,):
        server.admin("drop database ledger")
        at = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port)}
        passwords = {f"LEDGER_{role}_PASSWORD": "it's" for role in ("OWNER", "APP", "READ")}
        environment = {"PATH": os.environ["PATH"], **at, **passwords}
        script = str(DEPLOY / "compose" / "roles.sh")
        subprocess.run(["bash", script], env=environment, check=True, capture_output=True)
        roles = server.ask("select rolname, rolsuper from pg_roles where rolname like 'ledger\\_%'")
        assert {("ledger_owner", False), ("ledger_app", False), ("ledger_read", False)} <= set(
            roles
        )
        owner = "select pg_get_userbyid(datdba) from pg_database where datname = 'ledger'"
        assert server.ask(owner) == [("ledger_owner",)]
