"""The API, called inside this process. Each page and each action of the console is a call of `/v1`,
so validation, roles and rules are those of the API."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.requests import Request
from starlette.types import Message, Scope

from infrastructure.access import Caller
from infrastructure.web.auth import CALLER
from infrastructure.web.problems import Problem

Json = dict[str, Any]


class Ledger:
    """Calls of `/v1` by the visitor of a page."""

    def __init__(self, request: Request, caller: Caller) -> None:
        self._request, self._caller = request, caller

    async def get(self, path: str, **query: object) -> Json:
        """Return the answer of a reading call; a parameter that is None or empty is left out.
        Raises Problem."""
        given = {name: value for name, value in query.items() if value not in (None, "")}
        return await self._call("GET", path, urlencode(given), b"")

    async def find(self, path: str, **query: object) -> Json | None:
        """Return the answer of a reading call; None if the object does not exist."""
        try:
            return await self.get(path, **query)
        except Problem as problem:
            if problem.code in ("not_found", "invalid_request"):
                return None
            raise

    async def post(self, path: str, body: Mapping[str, object]) -> Json:
        """Make a change. Raises Problem."""
        return await self._call("POST", path, "", orjson.dumps(body))

    async def _call(self, method: str, path: str, query: str, body: bytes) -> Json:
        answered: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answered.append(message)

        await self._request.app.router(self._scope(method, path, query), receive, send)
        text = b"".join(part.get("body", b"") for part in answered[1:])
        content: Json = orjson.loads(text)
        if answered[0]["status"] >= 400:
            raise Problem(content["code"], content["detail"], more=_more(content))
        return content

    def _scope(self, method: str, path: str, query: str) -> Scope:
        return {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"content-type", b"application/json")],
            "client": None,
            "server": None,
            "state": {},
            "app": self._request.app,
            CALLER: self._caller,
        }


def path_of(template: str, **ids: object) -> str:
    """Fill ids into a path; a slash in an id is no separator."""
    return template.format(**{name: quote(str(value), safe="") for name, value in ids.items()})


def _more(content: Json) -> Json:
    return {name: content[name] for name in ("instance", "reasons") if name in content}
