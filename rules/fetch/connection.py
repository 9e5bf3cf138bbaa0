"""Requests to one registry: its address, and who we are there.

Source: OCI distribution-spec 1.1; Docker registry "Token Authentication Specification".
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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


class Connection:
    """One registry; what authenticates us is kept a repository. Safe to use from several threads.

    `address` is how it is reached if its host does not tell: http or https, host, and a path that all its
    repositories begin with.
    """

    def __init__(self, transport: Transport, *, address: str = "") -> None:
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
        self._authorizations: dict[str, _Authorization] = {}

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
        known = self._authorizations.get(repository)
        header = known.header if known and known.expires > time.monotonic() else ""
        response = self.transport.get(address, header, headers=headers)
        if response.status_code == 401:
            self._drop(response)
            challenge = response.headers.get("WWW-Authenticate", "")
            header = self._authorized(repository, challenge)
            response = self.transport.get(address, header, headers=headers)
        with response:
            self._check(response, repository, path)
            yield response

    def _drop(self, response: requests.Response) -> None:
        # Read to its end, the answer leaves the connection open for the next request. These are tiny.
        with suppress(OSError):
            next(self.transport.pieces(response), b"")
        response.close()

    def _authorized(self, repository: str, header: str) -> str:
        """The `Authorization` that answers a challenge, kept for the next requests to this repository."""
        credentials = credentials_for(self.host, repository, config_file()) if self._is_private else None
        challenges = {challenge.scheme: challenge for challenge in challenges_of(header)}
        if "bearer" in challenges:
            found = self._token(challenges["bearer"], repository, credentials)
        elif "basic" in challenges and credentials:
            found = _Authorization(credentials.basic, float("inf"))
        else:
            raise self._denied(repository)
        self._authorizations[repository] = found
        return found.header

    def _token(
        self, challenge: Challenge, repository: str, credentials: Credentials | None
    ) -> _Authorization:
        realm = challenge.parameters.get("realm", "")
        if self._is_private:
            self._check_realm(realm)
        parameters = {"scope": challenge.parameters.get("scope") or f"repository:{repository}:pull"}
        if "service" in challenge.parameters:
            parameters["service"] = challenge.parameters["service"]
        basic = credentials.basic if credentials else ""
        with self.transport.get(realm, basic, parameters=parameters) as response:
            if response.status_code in (401, 403):
                raise self._denied(repository)
            if response.status_code != 200:
                raise ImageError(f"{realm} answers {response.status_code}, no token for {self.host}")
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

    def _denied(self, repository: str) -> ImageError:
        file = config_file()
        helper = helper_for(self.host, file)
        if not self._is_private:
            hint = "give its address with https://: passwords are not sent over http"
        elif helper:
            hint = f"put an `auths` entry for {self.host} into {file}: its helper `{helper}` is not used"
        else:
            hint = f"check the name, or log in: `docker login {self.host}`"
        return ImageError(f"{self.host} denies access to {repository}", hint=hint)
