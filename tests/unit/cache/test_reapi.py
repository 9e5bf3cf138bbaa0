import importlib.util

import pytest

from kitbuild.cache.reapi import open_remote
from kitbuild.cache.remote import NO_ACCESS
from kitbuild.errors import UsageError


def test_malformed_url_is_refused_when_it_is_opened() -> None:
    with pytest.raises(UsageError):
        open_remote("grpc://host:port", NO_ACCESS)


def test_missing_library_is_told_when_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "grpc" else found(name))

    with pytest.raises(UsageError, match="needs the library grpcio") as caught:
        open_remote("grpc://me:secret@host:1", NO_ACCESS)

    assert "run `pip install 'kitbuild[reapi]'`" == caught.value.hint
    assert "secret" not in caught.value.message


def test_opening_asks_nobody() -> None:
    remote = open_remote("grpc://nobody.invalid:1/main", NO_ACCESS)

    remote.close()
