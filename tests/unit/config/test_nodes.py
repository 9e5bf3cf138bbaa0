"""The nodes that bring in what a config names."""

from __future__ import annotations

from kitbuild.config.nodes import SourceNodes, Sources
from kitbuild.digest import Digest
from kitbuild.image import Descriptor
from kitbuild.reference import Reference

REFERENCE = Reference.parse("t/web:v1")


def test_a_blob_is_one_node_however_often_it_is_named() -> None:
    nodes = SourceNodes(Sources({}, {}))
    blob = Descriptor("a layer", Digest.of(b"content"))

    assert nodes.blob(blob, REFERENCE, "layout:/a") is nodes.blob(blob, REFERENCE, "layout:/b")


def test_blobs_whose_digests_begin_alike_are_two_nodes() -> None:
    nodes = SourceNodes(Sources({}, {}))
    one, two = (Descriptor("a layer", Digest("0" * 63 + last, 1)) for last in "12")

    assert nodes.blob(one, REFERENCE, "layout:/a") is not nodes.blob(two, REFERENCE, "layout:/a")
