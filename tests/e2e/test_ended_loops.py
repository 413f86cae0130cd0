"""A loop that ends unasked: the process drains and ends with 70, so that a supervisor restarts it."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from infrastructure.settings import Settings
from infrastructure.simulators.stripe import running_simulator
from scripts.commands.serve import _listening, _serve, _work
from scripts.exit_codes import DEFECT
from tests.support.ledger_view import eventually
from tests.support.postgres_server import _free_port
from tests.support.service import quick


async def end_loop(name: str, readiness: str) -> None:
    """End the task of a loop, as an error that it does not expect would."""

    async def found() -> asyncio.Task[object] | None:
        return next((task for task in asyncio.all_tasks() if task.get_name() == name), None)

    async with httpx.AsyncClient(trust_env=False) as client:

        async def ready() -> bool:
            try:
                return (await client.get(readiness)).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(ready, "the process is ready")
        task = await found()
        assert task is not None
        task.cancel()


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("loop", ["InboxLoop", "Worker", "OverdueWork"])
def test_process_ends_with_70_after_a_loop_has_ended(
    database_url: str, command: str, loop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with running_simulator() as (simulator, _):
            settings: Settings = replace(quick(database_url, simulator.url), port=_free_port())
            page = f"http://127.0.0.1:{settings.port}/readyz"
            listening = _listening(settings)
            ending = asyncio.create_task(end_loop(loop, page))
            run = _serve if command == "serve" else _work
            try:
                async with asyncio.timeout(30):
                    await run(settings, listening, False)
            finally:
                await ending

    with asyncio.Runner() as runner, pytest.raises(SystemExit) as ended:
        runner.run(scenario())
    assert ended.value.code == DEFECT
    assert "A loop of the ledger has ended unasked" in capsys.readouterr().err
