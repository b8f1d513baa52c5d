"""The service's admin API over HTTP; whatever goes wrong is told in a sentence."""

import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from app.domain.adapters import NAME, RESERVED
from app.errors import PEToolError, SetupError, Unavailable

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
# The answer comes when all of the adapter has been checked, which takes a while where it is large.
_REGISTER_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
_CHUNK = 1 << 18
_AWAY = (429, 502, 503, 504)


class AdminClient:
    """Raises `Unavailable` where trying again may help, and otherwise PEToolError in the service's own words."""

    def __init__(self, url: str, key: str) -> None:
        """`key` may be empty. Raises SetupError for what is no URL or no key."""
        self._url = url
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise _no_url(url) from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise _no_url(url)
        key = key.strip()
        if not (key.isascii() and key.isprintable()):
            raise SetupError("The key has characters that no key has: check --key or PETOOL_API_KEY.")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=parsed, headers=headers, timeout=_TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._asked("GET", path, params=query)[0]

    def post(self, path: str, body: Any = None) -> Any:
        return self._asked("POST", path, json=body)[0]

    def delete(self, path: str) -> Any:
        return self._asked("DELETE", path)[0]

    def register(self, body: Any) -> tuple[Any, bool]:
        """A directory of the server's. The adapter, and whether it is new."""
        answer, status = self._asked("POST", "/admin/adapters", json=body, timeout=_REGISTER_TIMEOUT)
        return answer, status == 201

    def upload(self, file: BinaryIO, size: int, query: dict[str, Any], sent: Callable[[int], None]) -> tuple[Any, bool]:
        """A tar, plain or gzipped. `sent` hears how many bytes each piece had. Returns as `register` does."""

        def pieces() -> Iterator[bytes]:
            while piece := file.read(_CHUNK):
                yield piece
                sent(len(piece))

        # By its length what is too large is refused without being kept.
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        answer, status = self._asked(
            "POST", "/admin/adapters", params=query, content=pieces(), headers=headers, timeout=_REGISTER_TIMEOUT
        )
        return answer, status == 201

    def _asked(self, method: str, path: str, **options: Any) -> tuple[Any, int]:
        try:
            answer = self._http.request(method, path, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unavailable(
                f"Nothing answers at {self._url} ({error}). Is the service running (`petool serve`), and is --url "
                "(PETOOL_URL) right?"
            ) from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"{self._url} took the connection, but gave no answer in time: see its log.") from error
        except httpx.RequestError as error:
            raise Unavailable(f"{self._url} broke off ({error}): see its log, and try again.") from error
        body = _json(answer)
        if answer.is_success and isinstance(body, dict):
            return body, answer.status_code
        raise self._problem(answer, body)

    def _problem(self, answer: httpx.Response, body: Any) -> PEToolError:
        status = answer.status_code
        kind = Unavailable if status in _AWAY else PEToolError
        if not answer.headers.get("Content-Type", "").startswith("application/problem+json"):
            return kind(
                f"{self._url} answered with status {status}, but not as this service does: is --url (PETOOL_URL) right?"
            )
        detail = str(body["detail"])
        if status == 401:
            detail += " Here it is given with --key or PETOOL_API_KEY."
        wait = answer.headers.get("Retry-After", "")
        return kind(detail, retry_after=int(wait) if wait.isdecimal() else None)


def path_of(name: str, *more: str) -> str:
    """The API's path of an adapter: a version, or a name. PEToolError for what can be neither."""
    if re.fullmatch(rf"{NAME}(@[0-9a-zA-Z]*)?", name) is None or name in RESERVED:
        raise PEToolError(f"There is no adapter {name!r}; `petool adapters list` shows what is registered.")
    return "/".join(("/admin/adapters", quote(name, safe="@"), *more))


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _no_url(url: str) -> SetupError:
    return SetupError(f"{url!r} is no URL of a service: --url (PETOOL_URL) looks like http://127.0.0.1:8000.")
