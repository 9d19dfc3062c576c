import json
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.core.record import Origin, Record
from paring.report import Report, read_json, write_json

SCHEMA = json.loads(files("paring.report").joinpath("schema.json").read_text("utf-8"))

numbers = st.floats(allow_nan=False, allow_infinity=False)
records = st.builds(
    Record,
    stage=st.text(),
    metric=st.text(),
    value=numbers,
    unit=st.text(min_size=1),
    spread=st.none() | numbers,
    samples=st.integers(1, 10**9),
    device=st.text(),
    origin=st.sampled_from(Origin),
    source=st.text(),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def written(report, tmp_path):
    return write_json(report, tmp_path / "report.json")


def test_round_trip(report, written):
    assert read_json(written) == report


@given(st.lists(records, max_size=3), st.dictionaries(st.text(), plain, max_size=3))
def test_round_trip_of_anything(tmp_path_factory, many, recipe):
    report = Report(name="r", created="", paring="", records=tuple(many), recipe=recipe)
    path = tmp_path_factory.getbasetemp() / "any.json"
    assert read_json(write_json(report, path)) == report


def test_the_hostile_round_trip(hostile, tmp_path):
    assert read_json(write_json(hostile, tmp_path / "report.json")) == hostile


def conforms(value, schema, place="report"):
    """The few words of JSON Schema that schema.json uses; every key written must be listed there."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    known = {"$schema", "$defs", "title", "description", "type", "required", "properties", "items", "const", "enum"}
    assert schema.keys() <= known | {"minimum", "minLength"}, place
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        fits = [value is None if name == "null" else isinstance(value, types[name]) for name in names]
        assert any(fits), f"{place} is {value!r}, not {names}"
        assert "boolean" in names or not isinstance(value, bool), place
    assert value == schema.get("const", value), place
    assert value in schema.get("enum", [value]), place
    if "properties" in schema:
        assert set(schema["required"]) == schema["properties"].keys() == value.keys(), place
        for key, inner in schema["properties"].items():
            conforms(value[key], inner, f"{place}.{key}")
    for index, item in enumerate(value if "items" in schema else ()):
        conforms(item, schema["items"], f"{place}[{index}]")
    if "minimum" in schema:
        assert value >= schema["minimum"], place
    if "minLength" in schema:
        assert len(value) >= schema["minLength"], place


def test_what_is_written_keeps_to_the_schema(written):
    conforms(json.loads(written.read_text("utf-8")), SCHEMA)


def test_a_key_of_a_later_paring_is_no_obstacle(report, written):
    document = json.loads(written.read_text("utf-8"))
    document["new"] = document["records"][0]["new"] = 1
    written.write_text(json.dumps(document), "utf-8")
    assert read_json(written) == report


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not JSON"),
        (b'{"schema": "paring.report/1", "name": ', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a report"),
        (b"{}", "is not a report"),
        (b'{"schema": 1}', "is not a report"),
        (b'{"schema": "paring.report/2"}', "has schema 'paring.report/2'"),
        (b'{"schema": "paring.report/1"}', "name: Field required"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path, content, problem):
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ParingError) as caught:
        read_json(path)
    assert caught.value.problem.startswith(problem)
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ParingError, match="cannot be read"):
        read_json(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("value", "12", "records.0.value"),
        ("value", None, "records.0.value"),
        ("value", True, "records.0.value"),
        ("origin", "guessed", "records.0.origin"),
        ("samples", 0, "records.0"),
        ("unit", "", "records.0"),
    ],
)
def test_a_damaged_record_is_named(written, key, value, place):
    document = json.loads(written.read_text("utf-8"))
    document["records"][0][key] = value
    written.write_text(json.dumps(document), "utf-8")
    with pytest.raises(ParingError) as caught:
        read_json(written)
    assert caught.value.problem.startswith(f"{place}: ")


def test_what_json_cannot_say_is_never_written(report, written):
    before = written.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(replace(report, environment={"load": float("nan")}), written)
    assert written.read_bytes() == before
