"""How webhooks leave the process."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp


class HttpPost:
    """Posts over HTTP; a `config.Deliver`. Connections are opened on first use and kept until `close`."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Raises OSError when no answer came."""
        try:
            async with self._client().post(url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return answer.status
        except aiohttp.ClientError as failure:
            raise OSError(f"{type(failure).__name__}: {failure}") from failure

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:  # the courier sets the time limit
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        return self._session
