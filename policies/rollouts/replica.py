"""One vLLM server over HTTP: requests with retries, and an error that names the server that is gone."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx2

from policies.rollouts.base import EngineUnavailableError

log = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 30.0
PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
"""What a server that is starting, overloaded or dying answers; other refusals are mistakes and stay so."""

# Errors of a server that cannot be reached, hangs, or dies while it answers.
_DISTURBANCES = (httpx2.RequestError, httpx2.InvalidURL, json.JSONDecodeError)


Answer = TypeVar("Answer")

AGAIN = "then give the same command again: the run continues from its last checkpoint"


class UnansweredError(EngineUnavailableError):
    """A server cannot be reached, hangs, dies or is not ready; ``reason`` says which."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RefusedRequestError(ValueError):
    """The server understood and said no: asking again would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A server and how patient one is with it."""

    address: str
    """The address at which it listens, with the user, password and query that it may ask for."""
    timeout_seconds: float
    retries: int
    backoff_seconds: float

    @property
    def url(self) -> str:
        """The same without them, for messages."""
        parts = urlsplit(self.address)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))

    def _target(self, path: str) -> str:
        query = urlsplit(self.address).query
        return f"{self.url}{path}{'&' if '?' in path else '?'}{query}" if query else f"{self.url}{path}"

    @property
    def once(self) -> Replica:
        """The same server, asked once: for requests that must not be repeated."""
        return replace(self, retries=0)

    def get(self, path: str) -> Any:
        """As `post`, for what only asks."""
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to a request; None where it is not JSON.

        Tried ``retries`` times more, after ``backoff_seconds``, twice that, and so on, where the server
        cannot be reached, hangs, dies or says that it is not ready.  The retries of httpx are of connecting alone.

        Raises:
            UnansweredError: it stayed so.
            RefusedRequestError: it refused the request.
        """
        return self._call("POST", path, b"" if body is None else json.dumps(body).encode())

    def _call(self, method: str, path: str, content: bytes | None) -> Any:
        for attempt in range(self.retries + 1):
            try:
                answer = self._answer(method, path, content)
                if answer.is_success:
                    return _of_json(answer)
                reason = f"HTTP {answer.status_code}: {answer.text[:500]}"
                if answer.status_code not in PASSING_STATUSES:
                    raise RefusedRequestError(f"{self.url}{path}: {reason}")
            except _DISTURBANCES as error:
                reason = f"{type(error).__name__}: {error}"
            if attempt < self.retries:
                wait = min(self.backoff_seconds * 2**attempt, MAX_WAIT_SECONDS)
                log.warning("%s%s: %s; trying again in %g s", self.url, path, reason, wait)
                time.sleep(wait)
        raise UnansweredError(
            f"the rollout server {self.url} does not answer, after {self.retries + 1} attempts ({reason}); start it "
            f"again, {AGAIN}",
            reason,
        )

    def _answer(self, method: str, path: str, content: bytes | None) -> httpx2.Response:
        allowed = httpx2.URL(self.address)
        return _client().request(
            method,
            self._target(path),
            content=content,
            headers={"Content-Type": "application/json"},
            auth=(allowed.username, allowed.password) if allowed.userinfo else None,
            timeout=self.timeout_seconds,
        )


@cache
def _client() -> httpx2.Client:
    """One for all servers, since it reads the certificates that this machine trusts.

    It keeps no connection: what a server has closed meanwhile would fail a request that must not be repeated.
    """
    # It tells of every request, with the keys in its query.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return httpx2.Client(
        follow_redirects=True, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    )


def _of_json(answer: httpx2.Response) -> Any:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    # A request to load an adapter is answered in words.
    return answer.json() if kind == "application/json" and answer.content else None


def ask_all(
    replicas: Sequence[Replica], ask: Callable[[Replica], Answer]
) -> Iterator[tuple[Replica, Answer | Exception]]:
    """Ask all servers at the same time: each with its answer, or what went wrong, as they come.

    A caller that stops listening waits for none that is left, and neither does the end of the process.
    """
    answers: SimpleQueue[tuple[Replica, Answer | Exception]] = SimpleQueue()

    def listen(replica: Replica) -> None:
        try:
            answers.put((replica, ask(replica)))
        except Exception as error:
            answers.put((replica, error))

    for replica in replicas:
        Thread(target=listen, args=(replica,), daemon=True).start()
    return (answers.get() for _ in replicas)
