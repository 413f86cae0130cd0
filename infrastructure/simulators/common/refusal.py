"""Refused requests: the shape of an error, and a wording that tests can change while a simulator
runs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

INVALID_REQUEST = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """One error of a provider. `message` and `param` are templates over the values of the
    refusal."""

    status: int
    message: str
    evidence: str
    code: str | None = None
    param: str | None = None
    type: str = INVALID_REQUEST
    should_retry: str | None = None
    """Value of Stripe-Should-Retry, empty for none. None: `false` when the error is stored, else no
    header."""


class Refusal(Exception):
    """The provider refuses a request. Has the name of an entry in the catalogue, and values for its
    templates."""

    def __init__(self, name: str, **values: object) -> None:
        super().__init__(name)
        self.name = name
        self.values = values


class Wording:
    """The catalogue with the changes that tests have made."""

    def __init__(
        self,
        catalogue: Mapping[str, ErrorShape],
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._overrides: dict[str, ErrorShape] = {}
        for name, changes in (overrides or {}).items():
            self.change(name, changes)

    def shape(self, name: str) -> ErrorShape:
        return self._overrides.get(name) or self._catalogue[name]

    def change(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change one entry. Raises ValueError when the entry or one of its fields does not
        exist."""
        if name not in self._catalogue:
            raise ValueError(f"no error is called {name!r}; GET /_sim/wording lists the names")
        unknown = set(changes) - {"status", "type", "code", "param", "message", "should_retry"}
        if unknown:
            raise ValueError(
                f"an error has no {sorted(unknown)}; change status, type, code, param or message"
            )
        self._overrides[name] = replace(self.shape(name), **changes)

    def forget_changes(self) -> None:
        self._overrides.clear()

    def listing(self) -> dict[str, dict[str, Any]]:
        return {name: asdict(self.shape(name)) for name in self._catalogue}


def fill(template: str, values: Mapping[str, object]) -> str:
    """Fill in the values. Unlike `str.format`, leave unknown names alone: a changed message may
    contain any braces."""
    for name, value in values.items():
        template = template.replace("{" + name + "}", str(value))
    return template
