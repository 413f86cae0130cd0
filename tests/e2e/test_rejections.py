"""Every answer to the two calls that move money, one by one: which facts follow, which row, which key, and which end."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from itertools import count
from typing import get_args

import pytest
import pytest_asyncio

from infrastructure.stripe.simulator import running_simulator
from infrastructure.stripe.simulator.errors import CATALOGUE, ErrorShape
from infrastructure.stripe.simulator.faults import Cut, Mangle, Silence, Stored500
from tests.conftest import Databases
from tests.e2e.books import books_agree
from tests.e2e.play import Play, played, plays_out
from tests.e2e.provocations import Between, Fault, Proxy, Scene
from tests.e2e.rejections import HINDRANCES, NEVER_MET, REFUSALS, ROWS, UNKNOWNS, Case, Row, cases
from tests.e2e.stage import CREATE, REVERSE, Stage, quick
from tests.e2e.view import View

pytestmark = pytest.mark.asyncio(loop_scope="module")

Theatre = Callable[[str, Scene], AbstractAsyncContextManager[Play]]
BOTH = pytest.mark.parametrize("call", [CREATE, REVERSE])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre(databases: Databases) -> AsyncIterator[Theatre]:
    """One database and one Stripe for all plays. They end well, so that no failure is followed by the same of another
    transfer: several in a row would stop everything. In the end the books of them all must agree."""
    database_url, between, numbers = databases.create(migrated=True), Between(), count(1)
    async with running_simulator() as (simulator, stripe), View.of(database_url) as view:
        simulator.app.add_middleware(Proxy, between=between)
        stage = Stage(quick(database_url, stripe.url), view, stripe)
        yield lambda call, scene: played(stage, between, call, next(numbers), scene)
        await books_agree(stripe, view.pool)
    databases.drop(database_url)


def one_by_one(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.row.id}-{case.call}") for case in cases(rows)])


@one_by_one(REFUSALS)
async def test_a_refusal_leads_to_what_its_row_says(theatre: Theatre, case: Case) -> None:
    await in_theatre(theatre, case)


@one_by_one(HINDRANCES)
async def test_a_call_that_stripe_did_not_begin_leads_to_what_its_row_says(theatre: Theatre, case: Case) -> None:
    await in_theatre(theatre, case)


@one_by_one(UNKNOWNS)
async def test_an_answer_that_tells_nothing_leads_to_what_its_row_says(theatre: Theatre, case: Case) -> None:
    await in_theatre(theatre, case)


async def in_theatre(theatre: Theatre, case: Case) -> None:
    scene = case.row.stripe if isinstance(case.row.stripe, Scene) else Scene()
    async with theatre(case.call, scene) as play:
        await plays_out(play, case)
