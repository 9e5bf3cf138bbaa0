"""The nodes that bring in what a config only names: images, their layers, stored blobs, local files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.image import Descriptor, Image, Index, IndexName
from kitbuild.node import Node
from kitbuild.reference import Reference
from kitbuild.rules.assemble import layout
from kitbuild.rules.fetch import blob as fetch_blob
from kitbuild.rules.fetch import file as fetch_file
from kitbuild.rules.fetch import layer as fetch_layer
from kitbuild.rules.unpack import image as unpack_image
from kitbuild.rules.unpack import layer as unpack_layer

Images = Mapping[Reference, Image | ImageError]
"""For every reference of the config its image, or why there is none."""

_SECTION = "images"


class Sources(NamedTuple):
    """What was found outside the config. `files` are the digests of local files by the path written in it.

    `indexes` are what volumes of format `oci` hold, or why they cannot.
    """

    images: Images
    files: Mapping[str, Digest]
    indexes: Mapping[IndexName, Index | ImageError] = {}


class SourceNodes:
    """Makes each node once, however often a config names what it brings."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        # By the whole of what they bring: a name is shortened, and two that happen to begin alike are not one node.
        self._made: dict[tuple[str, ...], Node] = {}

    def image(self, reference: Reference) -> Node:
        """The file system of an image; a node that cannot run if the image was not found."""
        return self._once(("image", str(reference)), lambda: self._image(f"image {reference}", reference))

    def blob(self, blob: Descriptor, reference: Reference, source: str) -> Node:
        """A blob of an image as its source stores it."""
        options = fetch_blob.BlobOptions(*blob.digest, str(reference), source, blob.media_type)
        name = f"blob {blob.digest.hex[:16]}"
        return self._once(
            ("blob", blob.digest.hex), lambda: Node(name, fetch_blob.RULE, options, section=_SECTION)
        )

    def layout(self, name: IndexName, folder: str, *, section: str) -> Node:
        """An image as it is stored, as an OCI image layout in `folder` of the system."""
        index, label, title = self._sources.indexes[name], str(name.reference), f"{section}: content"
        if isinstance(index, ImageError):
            return Node(title, unpack_image.ABSENT, _absent(label, index), section=section)
        blobs = tuple(self.blob(blob, name.reference, index.source) for blob in index.blobs)
        options = layout.LayoutOptions(folder, label, index.top.media_type, *index.top.digest)
        return Node(title, layout.RULE, options, {"blobs": blobs}, section)

    def file(self, path: str) -> Node:
        """A file of the user's, by the path as the config has it."""
        digest = self._sources.files[path]
        options = fetch_file.FileOptions(digest.hex, digest.size, path)
        name = f"files: {path}"
        return self._once(("file", path), lambda: Node(name, fetch_file.RULE, options, section="files"))

    def _once(self, what: tuple[str, ...], make: Callable[[], Node]) -> Node:
        if what not in self._made:
            self._made[what] = make()
        return self._made[what]

    def _image(self, name: str, reference: Reference) -> Node:
        image, label = self._sources.images[reference], str(reference)
        if isinstance(image, ImageError):
            return Node(name, unpack_image.ABSENT, _absent(label, image), section=_SECTION)
        layers = tuple(self._layer(image, number) for number in range(len(image.layers)))
        return Node(name, unpack_image.RULE, unpack_image.ImageOptions(label), {"layers": layers}, _SECTION)

    def _layer(self, image: Image, number: int) -> Node:
        layer = image.layers[number]
        label = f"{image.reference}: layer {number + 1} of {len(image.layers)}"
        name = f"layer {layer.diff_id[:16]}"

        def make() -> Node:
            options = fetch_layer.LayerOptions(
                layer.diff_id, str(image.reference), image.source, layer.media_type, layer.blob, layer.name
            )
            tar = Node(f"{name}: tar", fetch_layer.RULE, options, section=_SECTION)
            return Node(name, unpack_layer.RULE, unpack_layer.LayerOptions(label), {"tar": (tar,)}, _SECTION)

        return self._once(("layer", layer.diff_id), make)


def _absent(label: str, error: ImageError) -> unpack_image.AbsentOptions:
    return unpack_image.AbsentOptions(label, error.message, error.hint or "")
