from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kitbuild.cache.remote import Record
from kitbuild.cache.signed import SignedRemote, new_secret_key, public_key
from kitbuild.digest import Digest
from kitbuild.errors import UsageError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.remotes import MemoryRemote

KEY, OTHER_KEY = Key("ab" * 32), Key("cd" * 32)
SECRET, OTHER_SECRET = (
    "kitbuild-secret-ed25519:" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)
)
PUBLIC, OTHER_PUBLIC = map(public_key, (SECRET, OTHER_SECRET))
RESULT = Result(
    Artifact("extents", Digest.of(b"artifact")), (Digest.of(b"blob"),), 0.1, (Digest.of(b"recipe"),)
)
RECORD = Record(RESULT, RESULT.content())


def signed(secret: str = SECRET, key: Key = KEY, record: Record = RECORD) -> Record:
    inner = MemoryRemote()
    SignedRemote(inner, (), secret).keep(key, record)
    return inner.records[key]


def found(record: Record, *trusted: str, key: Key = KEY) -> Record | None:
    inner = MemoryRemote()
    inner.records[key] = record
    return SignedRemote(inner, trusted).record(key)


def test_record_signed_with_a_trusted_key_counts() -> None:
    assert signed() == found(signed(), PUBLIC)


def test_any_trusted_key_will_do() -> None:
    assert found(signed(OTHER_SECRET), PUBLIC, OTHER_PUBLIC) is not None


def test_signature_is_the_public_key_and_that_of_the_text_the_format_says() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public, _, signature = signed(
        record=Record(Result(Artifact("blob", Digest.of(b"x")), (), 1.5))
    ).signature.partition(":")
    text = (
        f"kitbuild record 1\n{'ab' * 32}\n"
        "1 blob 1.5 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881:1"
    )

    assert PUBLIC == "kitbuild-ed25519:" + base64.b64encode(bytes.fromhex(public)).decode()
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), text.encode())


def test_unsigned_record_is_a_miss() -> None:
    assert found(RECORD, PUBLIC) is None


def test_record_signed_with_another_key_is_a_miss() -> None:
    assert found(signed(OTHER_SECRET), PUBLIC) is None


def test_signature_under_the_name_of_a_trusted_key_is_a_miss() -> None:
    record = signed(OTHER_SECRET)
    forged = signed().signature.partition(":")[0] + ":" + record.signature.partition(":")[2]

    assert found(record._replace(signature=forged), PUBLIC) is None


def test_signed_record_counts_under_no_other_key() -> None:
    assert found(signed(key=KEY), PUBLIC, key=OTHER_KEY) is None


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(RESULT._replace(artifact=Artifact("blob", RESULT.artifact.digest)), id="kind"),
        pytest.param(RESULT._replace(artifact=Artifact("extents", Digest.of(b"x"))), id="artifact"),
        pytest.param(RESULT._replace(blobs=()), id="blobs"),
        pytest.param(RESULT._replace(blobs=(*RESULT.blobs, *RESULT.dense), dense=()), id="dense-as-blobs"),
        pytest.param(RESULT._replace(seconds=0.2), id="seconds"),
        pytest.param(RESULT._replace(dense=(Digest.of(b"x"),)), id="dense"),
    ],
)
def test_changed_result_is_a_miss(changed: Result) -> None:
    assert found(signed()._replace(result=changed), PUBLIC) is None


@settings(deadline=None)
@given(some.integers(0), some.integers(1, 127))
def test_changed_signature_is_a_miss(place: int, change: int) -> None:
    record = signed()
    text = record.signature
    place %= len(text)
    text = text[:place] + chr(ord(text[place]) ^ change) + text[place + 1 :]

    # Hex digits have two cases; who changed nothing but that changed nothing.
    assert found(record._replace(signature=text), PUBLIC) is None or text.lower() == record.signature


@settings(deadline=None)
@given(some.text(max_size=200))
def test_anything_else_as_signature_is_a_miss(signature: str) -> None:
    assert found(RECORD._replace(signature=signature), PUBLIC) is None
    assert (
        found(RECORD._replace(signature=signed().signature.partition(":")[0] + ":" + signature), PUBLIC)
        is None
    )


def test_what_is_present_may_change() -> None:
    assert found(signed()._replace(present=()), PUBLIC) is not None


def test_without_trusted_keys_everything_counts() -> None:
    assert RECORD == found(RECORD)


def test_key_one_signs_with_is_not_trusted_by_itself() -> None:
    remote = SignedRemote(MemoryRemote(), [OTHER_PUBLIC], SECRET)

    remote.keep(KEY, RECORD)

    assert remote.record(KEY) is None


def test_refused_records_are_counted() -> None:
    inner = MemoryRemote()
    inner.records[KEY] = RECORD
    remote = SignedRemote(inner, [PUBLIC])

    remote.record(KEY)
    remote.record(OTHER_KEY)

    assert remote.refused == 1


def test_without_secret_key_records_are_kept_as_they_are() -> None:
    inner = MemoryRemote()

    SignedRemote(inner, [PUBLIC]).keep(KEY, RECORD)

    assert inner.records == {KEY: RECORD}


def test_new_keys_are_a_pair_and_differ() -> None:
    one, two = new_secret_key(), new_secret_key()

    assert one != two
    assert found(signed(one), public_key(one)) is not None
    assert found(signed(one), public_key(two)) is None


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "kitbuild-ed25519:",
        "kitbuild-ed25519:AAAA",
        PUBLIC + "A",
        PUBLIC[:-4],
        "ed25519:" + PUBLIC[17:],
        SECRET,
        PUBLIC + "é",
    ],
)
def test_malformed_public_key_is_a_usage_error(malformed: str) -> None:
    with pytest.raises(UsageError, match="expected a public key") as caught:
        SignedRemote(MemoryRemote(), [malformed])

    assert SECRET[24:] not in str(caught.value)


@pytest.mark.parametrize("malformed", ["x", SECRET[:-4], PUBLIC, SECRET + "=", SECRET[24:]])
def test_malformed_secret_key_is_a_usage_error_that_does_not_show_it(malformed: str) -> None:
    with pytest.raises(UsageError, match="expected a secret key") as caught:
        SignedRemote(MemoryRemote(), [], malformed)

    assert malformed not in caught.value.message.replace("expected", "")


def test_missing_library_is_told_before_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitbuild.cache.signed.find_spec", lambda _name: None)

    with pytest.raises(UsageError, match="needs the library cryptography") as caught:
        SignedRemote(MemoryRemote(), [PUBLIC])

    assert caught.value.hint == "run `pip install 'kitbuild[signing]'`"


def test_without_keys_the_library_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitbuild.cache.signed.find_spec", lambda _name: None)

    remote = SignedRemote(MemoryRemote(), [])

    assert remote.record(KEY) is None
