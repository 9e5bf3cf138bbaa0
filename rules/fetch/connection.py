"""Requests to one registry: its address, and who we are there.

Source: OCI distribution-spec 1.1; Docker registry "Token Authentication Specification".
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.rules.fetch.challenge import Challenge, challenges_of
from kitbuild.rules.fetch.credentials import (
    HUB,
    HUB_REGISTRY,
    Credentials,
    config_file,
    credentials_for,
    helper_for,
)
from kitbuild.rules.fetch.transport import Transport, UnavailableError, is_loopback

if TYPE_CHECKING:
    import requests

_TOKEN_SECONDS = 60  # what a token lives if the answer does not say: the token specification's default
_TOKEN_MARGIN_SECONDS = 10
_MAX_TOKEN_BYTES = 1 << 20


class _Authorization(NamedTuple):
    header: str
    expires: float  # on the monotonic clock


class DeniedError(ImageError):
    """A registry that does not let us do what we ask for."""


class Connection:
    """One registry; what authenticates us is kept a repository. Safe to use from several threads.

    `address` is how it is reached if its host does not tell: http or https, host, and a path that all its
    repositories begin with. `credentials` are given for this registry, in place of those in Docker's config file;
    `headers` go with each request to it, and an `Authorization` among them is all that authenticates us.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        address: str = "",
        credentials: Credentials | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.transport = transport
        self.host = transport.host
        scheme, _, place = address.partition("://")
        if not address:
            scheme = "http" if is_loopback(self.host) else "https"
            place = HUB_REGISTRY if self.host == HUB else self.host
        name, _, path = place.partition("/")
        self._address = f"{scheme}://{name}/v2"
        self._prefix = f"{path}/" if path else ""
        # Whoever asks for plain http gets it, but no password goes out in the clear to another machine.
        self._is_private = scheme == "https" or is_loopback(name)
        self._credentials = credentials
        self._headers = {name.title(): value for name, value in (headers or {}).items()}
        self._fixed = self._headers.pop("Authorization", "")
        self._lock = threading.Lock()
        self._authorizations: dict[tuple[str, bool], _Authorization] = {}

    @contextmanager
    def get(
        self, repository: str, path: str, *, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """The answer to GET /v2/<repository>/<path>, authenticated as needed; its body is not read yet.

        Raises ImageNotFoundError for 404, UnavailableError for what may pass or another registry may answer, and
        ImageError for every other failure.
        """
        repository = f"{self._prefix}{repository}"
        address = f"{self._address}/{repository}/{path}"

        def ask(authorization: str) -> requests.Response:
            return self.transport.get(address, authorization, headers={**self._headers, **(headers or {})})

        with self._answer(repository, ask) as response:
            self._check(response, repository, path)
            yield response

    def send(
        self,
        method: str,
        repository: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: Callable[[], bytes | Iterable[bytes]] | None = None,
        timeouts: tuple[float, float] | None = None,
    ) -> requests.Response:
        """The answer to one request, tried once, whatever its status; close it. Its body is not read yet.

        `path` is below /v2/<repository>/, or an address that a registry sent an upload to: if that is on another
        host, we do not say there who we are. `content` gives what Transport.send takes.

        Raises DeniedError for 401 and 403, UnreachableError if there is no answer, ImageError for what else stands
        in the way of being let in.
        """
        repository = f"{self._prefix}{repository}"
        address, is_ours = self._place(repository, path)

        def ask(authorization: str) -> requests.Response:
            own = {**self._headers, **(headers or {})} if is_ours else headers
            given = content() if content else None
            try:
                return self.transport.send(
                    method, address, authorization, headers=own, content=given, timeouts=timeouts
                )
            except OSError as error:
                raise self.transport.unreachable(error) from error

        response = self._answer(repository, ask, writes=content is not None) if is_ours else ask("")
        if response.status_code in (401, 403):
            self.transport.drop(response)
            raise self._denied(repository)
        return response

    def _place(self, repository: str, path: str) -> tuple[str, bool]:
        """The whole address, and whether it is the registry's own."""
        from urllib.parse import urljoin, urlsplit

        base = f"{self._address}/{repository}/"
        if not path.startswith(("/", "http:", "https:")):
            return base + path, True
        place = urlsplit(urljoin(base, path))
        own = urlsplit(base)
        default = {"http": ":80", "https": ":443"}[place.scheme]
        if own.netloc in (place.netloc, place.netloc.removesuffix(default)):
            # Behind a proxy that speaks TLS for it, a registry may take itself for one of plain http.
            return place._replace(scheme=own.scheme, netloc=own.netloc).geturl(), True
        if self._is_private and place.scheme == "http" and not is_loopback(place.netloc):
            raise ImageError(f"{self.host} wants content sent to `{place.netloc}` over plain http")
        return place.geturl(), False

    def _answer(
        self, repository: str, ask: Callable[[str], requests.Response], *, writes: bool = False
    ) -> requests.Response:
        """The answer to `ask`, which takes an `Authorization`, authenticated as needed."""
        # A token for reading and writing would do for both, but not everybody gets one.
        header = self._known(repository, writes)
        response = ask(header)
        if response.status_code != 401 or self._fixed:
            return response
        self.transport.drop(response)
        with self._lock:
            # Another thread may have been let in while we waited.
            newer = self._known(repository, writes)
            if newer == header:
                challenge = response.headers.get("WWW-Authenticate", "")
                newer = self._authorized(repository, challenge, writes=writes)
        return ask(newer)

    def _known(self, repository: str, writes: bool) -> str:
        known = self._authorizations.get((repository, writes))
        return known.header if known and known.expires > time.monotonic() else self._fixed

    def _authorized(self, repository: str, header: str, *, writes: bool) -> str:
        """The `Authorization` that answers a challenge, kept for the next requests to this repository."""
        credentials = self._credentials
        if credentials is None and self._is_private:
            credentials = credentials_for(self.host, repository, config_file())
        challenges = {challenge.scheme: challenge for challenge in challenges_of(header)}
        if "bearer" in challenges:
            scope = f"repository:{repository}:{'pull,push' if writes else 'pull'}"
            found = self._token(challenges["bearer"], repository, credentials, scope=scope)
        elif "basic" in challenges and credentials:
            found = _Authorization(credentials.basic, float("inf"))
        else:
            raise self._denied(repository)
        self._authorizations[repository, writes] = found
        return found.header

    def _token(
        self, challenge: Challenge, repository: str, credentials: Credentials | None, *, scope: str
    ) -> _Authorization:
        realm = challenge.parameters.get("realm", "")
        if self._is_private:
            self._check_realm(realm)
        parameters = {"scope": challenge.parameters.get("scope") or scope}
        if "service" in challenge.parameters:
            parameters["service"] = challenge.parameters["service"]
        basic = credentials.basic if credentials else ""
        with self.transport.get(realm, basic, parameters=parameters) as response:
            if response.status_code in (401, 403):
                raise self._denied(repository)
            if response.status_code != 200:
                kind = UnavailableError if response.status_code >= 500 else ImageError
                raise kind(f"{realm} answers {response.status_code}, no token for {self.host}")
            try:
                content = self.transport.body(response, _MAX_TOKEN_BYTES)
            except OSError as error:
                raise self.transport.broken(error) from error
        return self._read_token(content, realm)

    def _read_token(self, content: bytes, realm: str) -> _Authorization:
        try:
            answer = json.loads(content)
            token = answer.get("token") or answer.get("access_token")
            lives = answer.get("expires_in")
        except (ValueError, AttributeError, RecursionError) as error:
            raise ImageError(
                f"{realm} answers with no JSON object and so no token for {self.host}"
            ) from error
        if not isinstance(token, str) or not token:
            raise ImageError(f"{realm} answers without a token for {self.host}")
        seconds = lives if isinstance(lives, int) else _TOKEN_SECONDS
        return _Authorization(f"Bearer {token}", time.monotonic() + seconds - _TOKEN_MARGIN_SECONDS)

    def _check_realm(self, realm: str) -> None:
        # The registry says where the password goes: never in the clear to another machine.
        scheme, _, rest = realm.partition("://")
        if scheme == "https" or (scheme == "http" and is_loopback(rest.split("/")[0])):
            return
        raise ImageError(f"{self.host} wants credentials sent to `{realm}`, which is not an https address")

    def _check(self, response: requests.Response, repository: str, path: str) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status == 404:
            raise ImageNotFoundError(f"{self.host}/{repository} has no {path}")
        if status in (401, 403):
            raise self._denied(repository)
        hint = None
        if status == 429:
            hint = f"log in for a higher limit (`docker login {self.host}`), or wait"
        kind = UnavailableError if status == 429 or status >= 500 else ImageError
        raise kind(f"{self.host} answers {status} {response.reason} for {repository}/{path}", hint=hint)

    def _denied(self, repository: str) -> DeniedError:
        file = config_file()
        helper = helper_for(self.host, file)
        if self._credentials or self._fixed:
            hint = "check the name, and the user, password or token given for it"
        elif not self._is_private:
            hint = "give its address with https://: passwords are not sent over http"
        elif helper:
            hint = f"put an `auths` entry for {self.host} into {file}: its helper `{helper}` is not used"
        else:
            hint = f"check the name, or log in: `docker login {self.host}`"
        return DeniedError(f"{self.host} denies access to {repository}", hint=hint)
