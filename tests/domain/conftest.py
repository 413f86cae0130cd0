"""Fixtures of the pure domain's tests."""

import pytest

from tests.support.domain_story import Answers, FactStorage, Sale, StateOf, Story, state_of


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def stories() -> type[Story]:
    return Story


@pytest.fixture
def answers() -> type[Answers]:
    return Answers


@pytest.fixture
def sale() -> type[Sale]:
    return Sale


@pytest.fixture(scope="session")
def storage() -> FactStorage:
    return FactStorage()


@pytest.fixture(scope="session")
def state() -> StateOf:
    return state_of
