import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as GoogleMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.cache.protobuf import (
    Message,
    boolean,
    content,
    integer,
    integers,
    message,
    messages,
    text,
    texts,
)


class Leaf(Message):
    name: str = text(1)
    size: int = integer(2)


class Sample(Message):
    data: bytes = content(10)
    number: int = integer(1)
    small: int = integer(2)
    yes: bool = boolean(3)
    name: str = text(4)
    names: tuple[str, ...] = texts(5)
    numbers: tuple[int, ...] = integers(6)
    leaf: Leaf | None = message(7, Leaf)
    leaves: tuple[Leaf, ...] = messages(200, Leaf)


def _google() -> type[GoogleMessage]:
    """The same message as Google's library has it."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="sample.proto", package="test", syntax="proto3")
    fields = {
        "Leaf": [("name", 1, kinds.TYPE_STRING, False), ("size", 2, kinds.TYPE_INT64, False)],
        "Sample": [
            ("data", 10, kinds.TYPE_BYTES, False),
            ("number", 1, kinds.TYPE_INT64, False),
            ("small", 2, kinds.TYPE_INT32, False),
            ("yes", 3, kinds.TYPE_BOOL, False),
            ("name", 4, kinds.TYPE_STRING, False),
            ("names", 5, kinds.TYPE_STRING, True),
            ("numbers", 6, kinds.TYPE_INT64, True),
            ("leaf", 7, kinds.TYPE_MESSAGE, False),
            ("leaves", 200, kinds.TYPE_MESSAGE, True),
        ],
    }
    for name, declared in fields.items():
        kind = file.message_type.add(name=name)
        for field, number, type_, many in declared:
            label = kinds.LABEL_REPEATED if many else kinds.LABEL_OPTIONAL
            added = kind.field.add(name=field, number=number, type=type_, label=label)
            if type_ == kinds.TYPE_MESSAGE:
                added.type_name = ".test.Leaf"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found: type[GoogleMessage] = message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Sample"))
    return found


GoogleSample = _google()

_INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
_LEAVES = st.builds(Leaf, name=st.text(max_size=5), size=_INT64)
_SAMPLES = st.builds(
    Sample,
    data=st.binary(max_size=300),
    number=_INT64,
    small=st.integers(-(1 << 31), (1 << 31) - 1),
    yes=st.booleans(),
    name=st.text(max_size=9),
    names=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    numbers=st.lists(_INT64, max_size=4).map(tuple),
    leaf=st.none() | _LEAVES,
    leaves=st.lists(_LEAVES, max_size=3).map(tuple),
)


def _as_ours(theirs: GoogleMessage) -> Sample:
    leaf = theirs.leaf
    values = {name: getattr(theirs, name) for name in ("data", "number", "small", "yes", "name")}
    return Sample(
        **values,
        names=tuple(theirs.names),
        numbers=tuple(theirs.numbers),
        leaf=Leaf(name=leaf.name, size=leaf.size) if theirs.HasField("leaf") else None,
        leaves=tuple(Leaf(name=one.name, size=one.size) for one in theirs.leaves),
    )


@settings(deadline=None)
@given(_SAMPLES)
def test_message_comes_back_as_it_was(sample: Sample) -> None:
    assert sample == Sample.decode(sample.encode())


@settings(deadline=None)
@given(_SAMPLES)
def test_google_reads_what_we_write_and_writes_the_same(sample: Sample) -> None:
    theirs = GoogleSample.FromString(sample.encode())

    assert sample == _as_ours(theirs)
    assert theirs.SerializeToString(deterministic=True) == sample.encode()


@settings(deadline=None)
@given(_SAMPLES, _SAMPLES)
def test_messages_one_after_another_merge_as_google_merges_them(first: Sample, second: Sample) -> None:
    both = first.encode() + second.encode()

    assert _as_ours(GoogleSample.FromString(both)) == Sample.decode(both)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_junk_gives_what_google_reads_or_a_value_error(junk: bytes) -> None:
    try:
        ours = Sample.decode(junk)
    except ValueError:
        return

    assert _as_ours(GoogleSample.FromString(junk)).__dict__ | {"small": 0} == ours.__dict__ | {"small": 0}


@settings(deadline=None)
@given(_SAMPLES, st.data())
def test_damaged_message_gives_what_google_reads_or_a_value_error(
    sample: Sample, data: st.DataObject
) -> None:
    damaged = bytearray(sample.encode() or b"\0")
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        ours = Sample.decode(bytes(damaged))
    except ValueError:
        return

    assert _as_ours(GoogleSample.FromString(bytes(damaged))).name == ours.name


@settings(deadline=None)
@given(_SAMPLES, st.data())
def test_google_refuses_what_we_refuse_of_a_cut_message(sample: Sample, data: st.DataObject) -> None:
    whole = sample.encode()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        Sample.decode(cut)
    except ValueError:
        with pytest.raises(DecodeError):
            GoogleSample.FromString(cut)


def test_fields_are_written_in_the_order_of_their_numbers() -> None:
    assert b"\x08\x01\x52\x01x" == Sample(data=b"x", number=1).encode()


def test_defaults_take_no_bytes() -> None:
    assert b"" == Sample(data=b"", number=0, yes=False, names=(), leaf=None).encode()
    assert Sample() == Sample(number=0)


def test_empty_message_is_not_a_missing_one() -> None:
    assert b"\x3a\x00" == Sample(leaf=Leaf()).encode()
    assert Leaf() == Sample.decode(b"\x3a\x00").leaf


@pytest.mark.parametrize(
    "unknown",
    [
        pytest.param(b"\x78\x96\x01", id="number"),
        pytest.param(b"\x79" + bytes(8), id="eight bytes"),
        pytest.param(b"\x7d" + bytes(4), id="four bytes"),
        pytest.param(b"\x7a\x03abc", id="text"),
        pytest.param(b"\x20\x07", id="a number where a text is declared"),
        pytest.param(b"\x0a\x01x", id="a text where a number is declared"),
        pytest.param(b"\x38\x01", id="a number where a message is declared"),
        pytest.param(b"\x28\x01", id="a number where texts are declared"),
    ],
)
def test_what_is_not_declared_is_skipped(unknown: bytes) -> None:
    assert Sample(number=5) == Sample.decode(unknown + b"\x08\x05" + unknown)


@pytest.mark.parametrize(
    "malformed",
    [
        pytest.param(b"\x08", id="tag without a value"),
        pytest.param(b"\x08" + b"\xff" * 11, id="number without an end"),
        pytest.param(b"\x00\x01", id="field 0"),
        pytest.param(b"\x0b", id="group"),
        pytest.param(b"\x0f\x01", id="wire type 7"),
        pytest.param(b"\x52\x05abc", id="too short"),
        pytest.param(b"\x52\xff\xff\xff\xff\xff\xff\xff\xff\x7f", id="a length beyond all memory"),
        pytest.param(b"\x79" + bytes(7), id="seven of eight bytes"),
        pytest.param(b"\x22\x01\xff", id="text that is not UTF-8"),
        pytest.param(b"\x32\x01\x80", id="packed number without an end"),
        pytest.param(b"\x3a\x01\x08", id="malformed message inside"),
    ],
)
def test_malformed_message_is_a_value_error(malformed: bytes) -> None:
    with pytest.raises(ValueError):
        Sample.decode(malformed)


def test_more_fields_than_any_message_has_are_refused() -> None:
    many = Sample(leaves=(Leaf(),) * 300_000).encode()

    with pytest.raises(ValueError, match="too many fields"):
        Sample.decode(many)


def test_number_beyond_64_bits_is_not_written() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        Sample(number=1 << 63).encode()


def test_message_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Sample(number=1).number = 2  # type: ignore[misc]


def test_equal_messages_have_equal_hashes_and_kinds_differ() -> None:
    assert 1 == len({Leaf(name="a"), Leaf(size=0, name="a")})
    assert Leaf() != Sample()


def test_message_shows_what_was_given() -> None:
    assert "Leaf(name='a', size=2)" == repr(Leaf(size=2, name="a"))
