import pytest

from kitbuild.cache.reapi_messages import WriteRequest
from kitbuild.cache.streaming import Sending, StalledError, Watch


class Call:
    """A call that is never answered, and notes whether it was cancelled."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def result(self, timeout: float) -> bytes:
        raise LookupError

    def cancel(self) -> None:
        self.is_cancelled = True


def test_requests_are_given_encoded_until_they_end() -> None:
    requests = [WriteRequest(data=b"a"), WriteRequest(data=b"b")]

    assert [request.encode() for request in requests] == list(Sending(requests, 5, 5))


def test_no_request_is_given_after_the_stop() -> None:
    sending = Sending([WriteRequest(data=b"a"), WriteRequest(data=b"b")], 5, 5)
    next(sending)

    sending.stop()

    assert [] == list(sending)


def test_request_that_is_not_taken_in_time_ends_the_wait() -> None:
    sending = Sending([WriteRequest()], -1, 5)

    with pytest.raises(StalledError, match="no data was taken in time"):
        sending.answer(Call(), LookupError)


def test_answer_that_does_not_come_in_time_ends_the_wait() -> None:
    sending = Sending([], 5, -1)
    list(sending)

    with pytest.raises(StalledError, match="no answer came in time"):
        sending.answer(Call(), LookupError)


def test_call_nobody_waits_for_is_not_cancelled() -> None:
    watch, call = Watch(), Call()

    with watch.over(call, 5):
        pass
    watch.stop()

    assert not call.is_cancelled
    assert not watch.has_cancelled(call)
