"""etcd's HTTP gateway: one request to whichever of the endpoints answers, bounded in time, faults as values.

Source: etcd API reference v3.4, "Why gRPC gateway": POST of JSON to /v3/...; errors are JSON with ``error``.
"""

import json
import ssl
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

import aiohttp

from pycarpd.arbiter.records import Body


class GatewayFaultCode(Enum):
    """Why there is no answer."""

    UNREACHABLE = "ARBITER_UNREACHABLE"
    REFUSED = "ARBITER_REFUSED"
    UNREADABLE = "ARBITER_UNREADABLE"


@dataclass(frozen=True, slots=True)
class GatewayFault:
    """A request without a usable answer; it may have taken effect all the same."""

    code: GatewayFaultCode
    detail: str


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach etcd: its members' URLs, and what proves who we are. Paths of PEM files; empty for none."""

    endpoints: tuple[str, ...]
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""


class Gateway:
    """Asks the endpoints in turn, beginning with the one that answered last; use from one event loop."""

    def __init__(self, access: Access, timeout_s: float) -> None:
        """Take the access; *timeout_s* bounds the attempt at one endpoint."""
        self._access = access
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._first = 0
        self._token = ""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, path: str, body: Body) -> Body | GatewayFault:
        """Return the answer of the first endpoint that gives one, or the last fault."""
        if self._access.username and not self._token:
            fault = await self._authenticate()
            if fault is not None:
                return fault
        answer = await self._ask_each(path, body)
        if isinstance(answer, GatewayFault) and answer.code is GatewayFaultCode.REFUSED and self._token:
            self._token = ""  # it may have run out; the next request asks for another
        return answer

    async def _authenticate(self) -> GatewayFault | None:
        body = {"name": self._access.username, "password": self._access.password}
        answer = await self._ask_each("/v3/auth/authenticate", body)
        if isinstance(answer, GatewayFault):
            return answer
        self._token = str(answer.get("token", ""))
        return None

    async def _ask_each(self, path: str, body: Body) -> Body | GatewayFault:
        endpoints = self._access.endpoints
        fault = GatewayFault(GatewayFaultCode.UNREACHABLE, "no endpoint is configured")
        for offset in range(len(endpoints)):
            index = (self._first + offset) % len(endpoints)
            answer = await self._ask_one(endpoints[index] + path, body)
            if not isinstance(answer, GatewayFault):
                self._first = index
                return answer
            fault = answer
        self._first = (self._first + 1) % len(endpoints)
        return fault

    async def _ask_one(self, url: str, body: Body) -> Body | GatewayFault:
        headers = {"Authorization": self._token} if self._token else {}
        try:
            session = self._opened()
            async with session.post(url, json=body, headers=headers, timeout=self._timeout) as response:
                text = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            return GatewayFault(GatewayFaultCode.UNREACHABLE, f"{url}: {type(error).__name__} {error}".rstrip())
        return _parsed(url, status, text)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            access = self._access
            context = ssl.create_default_context(cafile=access.ca_file or None)
            if access.cert_file:
                context.load_cert_chain(access.cert_file, access.key_file or None)
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        return self._session


def _parsed(url: str, status: int, text: bytes) -> Body | GatewayFault:
    try:
        answer: Any = json.loads(text)
    except ValueError:
        return GatewayFault(GatewayFaultCode.UNREADABLE, f"{url}: HTTP {status} without JSON")
    if not isinstance(answer, dict):
        return GatewayFault(GatewayFaultCode.UNREADABLE, f"{url}: HTTP {status} without an object")
    if status != HTTPStatus.OK or "error" in answer:
        return GatewayFault(GatewayFaultCode.REFUSED, f"{url}: HTTP {status} {answer.get('error', '')}".rstrip())
    return answer
