"""What asks an S3 store: two clients of botocore, for small requests and for transfers. Loading it takes 0.3 s."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.cache.http_address import is_loopback
from kitbuild.cache.remote import Access
from kitbuild.cache.s3_place import Place

_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
_STALL_SECONDS = 5.0
# As many transfers and questions as go on at once.
_CONNECTIONS = 16
# Signing needs one; stores of one's own seldom have any.
_REGION = "us-east-1"


class Clients(NamedTuple):
    """Clients with the time-outs of small requests (`quick`) and of transfers (`patient`).

    `refusal` is the exception for an answer that refuses; `is_nobody` if there are no credentials to sign with.
    """

    quick: Any
    patient: Any
    refusal: type[Exception]
    is_nobody: bool
    closing: ExitStack

    def close(self) -> None:
        """Closes the connections."""
        self.quick.close()
        self.patient.close()
        self.closing.close()


def opened(place: Place, access: Access) -> Clients:
    """The clients for a bucket; nothing is asked of it yet."""
    # Not boto3, whose objects around botocore's clients would be loaded for nothing.
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import ClientError

    session = botocore.session.Session()
    is_nobody = session.get_credentials() is None
    # A store of one's own seldom has a host for each bucket.
    own = place.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    certificate, key = access.client_certificate, access.client_key
    closing = ExitStack()

    def client(connect_seconds: float, read_seconds: float) -> Any:
        made = session.create_client(
            "s3",
            region_name=place.region or session.get_config_variable("region") or _REGION,
            endpoint_url=place.endpoint or None,
            verify=trust,
            config=Config(
                connect_timeout=connect_seconds,
                read_timeout=read_seconds,
                retries={"total_max_attempts": 1},
                max_pool_connections=_CONNECTIONS,
                signature_version=UNSIGNED if is_nobody else None,
                # What is sent has its SHA-256 among the signed headers: to hash it once more would only take time.
                s3={"addressing_style": "path" if own else "auto", "payload_signing_enabled": False},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                client_cert=(str(certificate), str(key))
                if certificate and key
                else str(certificate or "") or None,
                # A proxy cannot reach this machine's own store.
                proxies={} if own and is_loopback(_host(own)) else None,
            ),
        )

        def add_headers(request: Any, **_: Any) -> None:
            for name, value in access.headers:
                request.headers[name] = value

        made.meta.events.register("before-send.s3", add_headers)
        return made

    trust = _trust(access.authorities, closing)
    quick = client(_CONNECT_SECONDS, _ANSWER_SECONDS)
    # The first is for sending too.
    patient = client(_STALL_SECONDS, _STALL_SECONDS)
    return Clients(quick, patient, ClientError, is_nobody, closing)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or ""


def _trust(files: tuple[Path, ...], closing: ExitStack) -> str | None:
    """A file with the certificates of `files` and those that are trusted anyway, of which botocore takes just one."""
    if not files:
        return None
    from botocore.httpsession import where

    folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="kitbuild-"))
    joined = Path(folder, "trusted.pem")
    joined.write_bytes(b"\n".join(file.read_bytes() for file in (Path(where()), *files)))
    return str(joined)
