"""Whatever a config or a label says, the answer is a value or mistakes that have a place: never a crash."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.config.ids import ids_of
from kitbuild.config.load import load
from kitbuild.config.runtime import container_spec
from kitbuild.config.schema import CONFIG, LABEL, Schema
from kitbuild.errors import ConfigErrors
from kitbuild.image import ImageConfig
from tests.unit.config.configs import container

_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "a",
        "a:b",
        "/a:b:ro",
        "a,1,2",
        "all",
        "@pkg:x",
        "<<",
        [],
        ["a"],
        {},
        {"a": 1},
    ]
)


def _values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that mostly are as the schema says."""
    if schema.kind == "object":
        keys = st.lists(st.sampled_from(sorted(schema.fields)), max_size=4, unique=True)
        fields = keys.map(lambda chosen: {*chosen, *schema.required})
        return st.one_of(
            fields.flatmap(
                lambda chosen: st.fixed_dictionaries(
                    {key: _values(schema.fields[key]) for key in sorted(chosen)}
                )
            ),
            _ODD,
        )
    if schema.items is not None:
        items = _values(schema.items)
        many = st.lists(items, max_size=3)
        return st.one_of(
            many if schema.kind == "array" else st.dictionaries(st.text("ab.", max_size=3), items), _ODD
        )
    if schema.kind == "boolean":
        return st.one_of(st.booleans(), _ODD)
    if schema.kind == "integer":
        return st.one_of(st.integers(0, 100), _ODD)
    return st.one_of(st.sampled_from(schema.choices or ("a", "b:c", "/d:/e", "CAP_KILL", "0644")), _ODD)


# No deadline: the first example pays for imports.
@settings(deadline=None)
@given(_values(CONFIG))
def test_a_config_is_a_system_or_mistakes_with_places(value: Any) -> None:
    text = json.dumps(value)

    try:
        system = load(["-"], stdin=BytesIO(text.encode()))
    except ConfigErrors as errors:
        places = [error.where for error in errors.errors]
        assert all(where is not None and where.text == text and where.column <= len(text) for where in places)
        assert places == sorted(places, key=lambda where: where.column if where else 0)
        assert all(error.hint for error in errors.errors)
    else:
        for written in system.containers:
            spec = container_spec(
                written, ImageConfig(), ids=ids_of(system.containers), volumes=system.volumes_by_name()
            )
            assert json.loads(spec.config_json)["linux"]["namespaces"][-1] == {"type": "mount"}
            assert json.loads(spec.runtime_json(written.bundle, "root"))["mounts"]


@settings(deadline=None)
@given(_values(LABEL))
def test_a_label_is_options_or_mistakes(value: Any) -> None:
    image = ImageConfig(labels={"org.mobyproject.config": json.dumps(value)})

    try:
        spec = container_spec(container(), image, ids={}, volumes={})
    except ConfigErrors as errors:
        assert all("label org.mobyproject.config" in error.message for error in errors.errors)
    else:
        assert json.loads(spec.config_json)["ociVersion"] == "1.2.1"
