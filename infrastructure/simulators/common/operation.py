"""One operation of a provider's API, as far as it is the same for all providers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """Name, method and path template, such as `transfers.retrieve`, `GET`, `/v1/transfers/{transfer}`."""

    name: str
    method: str
    path: str
