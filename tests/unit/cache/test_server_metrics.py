from __future__ import annotations

import pytest

from kitbuild.cache.server_metrics import Answered, Metrics
from tests.support.prometheus import families, value


def told(*answered: Answered, metrics: Metrics | None = None) -> str:
    metrics = metrics or Metrics()
    for request in answered:
        metrics.count(request)
    return metrics.text({"bytes": ("What is there.", 5)}, version="1.2.3")


def test_text_of_a_server_nobody_asked_is_well_formed() -> None:
    text = told()

    assert "gauge" == families(text)["kitbuild_cache_info"].kind
    assert 1 == value(text, "kitbuild_cache_info", version="1.2.3")
    assert 5 == value(text, "kitbuild_cache_bytes")
    assert 0 == value(text, "kitbuild_cache_hits_total")


def test_requests_are_counted_by_method_kind_and_status() -> None:
    text = told(
        Answered("GET", "cas", 200, 0.001),
        Answered("GET", "cas", 200, 0.001),
        Answered("GET", "ac", 404, 0.001),
        Answered("PUT", "cas", 201, 0.001, received=100),
    )

    name = "kitbuild_cache_requests_total"
    assert 2 == value(text, name, method="GET", kind="cas", status="200")
    assert 1 == value(text, name, method="GET", kind="ac", status="404")
    assert 100 == value(text, "kitbuild_cache_received_bytes_total")


def test_hits_and_misses_are_gets_of_results_and_content() -> None:
    text = told(
        Answered("GET", "cas", 206, 0.001, sent=7),
        Answered("GET", "ac", 200, 0.001, sent=3),
        Answered("HEAD", "cas", 200, 0.001),
        Answered("GET", "other", 200, 0.001),
        Answered("GET", "ac", 404, 0.001),
        Answered("GET", "other", 404, 0.001),
        Answered("GET", "cas", 401, 0.001),
    )

    assert 2 == value(text, "kitbuild_cache_hits_total")
    assert 1 == value(text, "kitbuild_cache_misses_total")
    assert 10 == value(text, "kitbuild_cache_sent_bytes_total")


def test_durations_are_counted_in_every_bucket_they_fit_in() -> None:
    text = told(*(Answered("GET", "cas", 200, seconds) for seconds in (0.0004, 0.001, 0.3, 1000.0)))

    name, labels = "kitbuild_cache_request_seconds", {"method": "GET", "kind": "cas"}
    buckets = [
        value(text, f"{name}_bucket", le=le, **labels) for le in ("0.0005", "0.001", "0.1", "0.5", "+Inf")
    ]
    assert [1, 2, 2, 3, 4] == buckets
    assert 1000.3014 == pytest.approx(value(text, f"{name}_sum", **labels))


def test_evictions_are_counted_with_their_bytes() -> None:
    metrics = Metrics()
    metrics.evicted("ac", 10)
    metrics.evicted("cas", 100)
    metrics.evicted("cas", 1000)

    text = told(metrics=metrics)

    assert 1 == value(text, "kitbuild_cache_evictions_total", kind="ac")
    assert 2 == value(text, "kitbuild_cache_evictions_total", kind="cas")
    assert 1110 == value(text, "kitbuild_cache_evicted_bytes_total")
