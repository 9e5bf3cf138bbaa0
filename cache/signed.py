"""SignedRemote: only what somebody trusted has signed counts. Also the keys this is done with.

    kitbuild-secret-ed25519:<base64 of the 32 bytes of RFC 8032's private key>     signs
    kitbuild-ed25519:<base64 of the 32 bytes of its public key>                    is trusted

What is signed, with Ed25519 (RFC 8032), is this text. It holds the key, so that a record counts under no other one:

    kitbuild record 1
    <key hex>
    <the result's row, see row.py>

Which of its content is present is not signed: that changes, and content is checked against the digests in the row.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec

from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.cache.row import encode_result
from kitbuild.digest import Digest
from kitbuild.errors import UsageError
from kitbuild.node import Key

_PURPOSE = b"kitbuild record 1"
_SECRET = "kitbuild-secret-ed25519:"
_PUBLIC = "kitbuild-ed25519:"
_KEY_BYTES = 32


class SignedRemote:
    """Signs what is kept if it has a secret key, and gives only what a `trusted` key has signed if there are any.

    Whoever can write to the server, or is the server, can then withhold results but not make any up. Without trusted
    keys nothing is checked. The key one signs with is not trusted by itself. Raises UsageError for malformed keys.
    """

    def __init__(self, inner: Remote, trusted: Sequence[str], secret: str = "") -> None:
        self._inner = inner
        self._trusted = frozenset(_content(key, _PUBLIC).hex() for key in trusted)
        self._secret = _content(secret, _SECRET) if secret else b""
        if (trusted or secret) and find_spec("cryptography") is None:
            raise _lacking()
        # How many records were there and did not count.
        self.refused = 0

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not there."""
        return self._inner.missing(digests)

    def get(self, digest: Digest) -> Iterator[bytes]:
        """The content; raises MissingBlobError."""
        return self._inner.get(digest)

    def put(self, digest: Digest, pieces: Pieces) -> None:
        """Keeps content, which needs no signature: its digest is in a signed record, or nobody asks for it."""
        self._inner.put(digest, pieces)

    def record(self, key: Key) -> Record | None:
        """The record of `key`, None too if nobody trusted has signed it under this key."""
        record = self._inner.record(key)
        if record is None or not self._trusted or self._is_trusted(key, record):
            return record
        self.refused += 1
        return None

    def keep(self, key: Key, record: Record) -> None:
        """Keeps or replaces a record, signed if there is a secret key."""
        if self._secret:
            record = record._replace(signature=_signature(self._secret, _message(key, record)))
        self._inner.keep(key, record)

    def close(self) -> None:
        """Closes what is open."""
        self._inner.close()

    def _is_trusted(self, key: Key, record: Record) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        public, _, signature = record.signature.partition(":")
        if public not in self._trusted:
            return False
        try:
            verifier = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
            verifier.verify(bytes.fromhex(signature), _message(key, record))
        except (InvalidSignature, ValueError):
            return False
        return True


def new_secret_key() -> str:
    """A new secret key; raises UsageError if the library for it is not installed."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise _lacking() from error
    return _SECRET + base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode("ascii")


def public_key(secret: str) -> str:
    """The public key of a secret key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519PrivateKey.from_private_bytes(_content(secret, _SECRET))
    return _PUBLIC + base64.b64encode(signer.public_key().public_bytes_raw()).decode("ascii")


def _message(key: Key, record: Record) -> bytes:
    return b"\n".join((_PURPOSE, key.hex.encode("ascii"), encode_result(record.result)))


def _signature(secret: bytes, message: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519PrivateKey.from_private_bytes(secret)
    return f"{signer.public_key().public_bytes_raw().hex()}:{signer.sign(message).hex()}"


def _content(key: str, prefix: str) -> bytes:
    """The bytes of a key in its text; raises UsageError."""
    try:
        content = base64.b64decode(key.removeprefix(prefix).encode("ascii"), validate=True)
    except ValueError:
        content = b""
    if not key.startswith(prefix) or len(content) != _KEY_BYTES:
        kind = "secret" if prefix == _SECRET else "public"
        # A secret key where a public one belongs must not be shown either, so neither is.
        raise UsageError(
            f"expected a {kind} key, `{prefix}` and {_KEY_BYTES} bytes in base64, got something else",
            hint="make a pair of keys with `kitbuild cache keygen`",
        )
    return content


def _lacking() -> UsageError:
    return UsageError("signing needs the library cryptography", hint="run `pip install 'kitbuild[signing]'`")
