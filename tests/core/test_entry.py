import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.entry import Entry, parse
from paring.core.errors import ParingError


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("fashion-mnist", Entry("", "fashion-mnist")),
        ("fashion-mnist(size=32)", Entry("", "fashion-mnist", {"size": 32})),
        ("zoo:mobilenet_v2(width=0.5)", Entry("zoo", "mobilenet_v2", {"width": 0.5})),
        ("python:package.module:task", Entry("python", "package.module:task")),
        (" npz:a.npz ( size = 8 , labels = ('(', ')=') ) ", Entry("npz", "a.npz", {"size": 8, "labels": ["(", ")="]})),
        ("zoo:net(a=[1, -2], b=True, c=None)", Entry("zoo", "net", {"a": [1, -2], "b": True, "c": None})),
        ("images:photos()", Entry("images", "photos")),
        # Paths that hold parentheses or colons of their own.
        (r"images:C:\photos(size=96)", Entry("images", r"C:\photos", {"size": 96})),
        (r"C:\photos", Entry("", r"C:\photos")),
        ("images:photos (1)", Entry("images", "photos (1)")),
        ("images:photos (1)(size=96)", Entry("images", "photos (1)", {"size": 96})),
        ("images:photos (copy)/new", Entry("images", "photos (copy)/new")),
        ("images:runs(lr=0.1)/photos", Entry("images", "runs(lr=0.1)/photos")),
        ("images:photos(a=1)()", Entry("images", "photos(a=1)")),
        ("images:photos(a=1)(size=9)", Entry("images", "photos(a=1)", {"size": 9})),
    ],
)  # fmt: skip
def test_takes_a_line_apart(text, entry):
    assert parse(text) == entry


@pytest.mark.parametrize(
    "text",
    ["", "  ", "images:", "(size=3)", "net(size=32", "net(size=)", "net(size=three)", "net(size=1, size=2)",
     "net(size=f())", "net(size={1, 2})", "net(size=b'x')", "net(size=1e999)", "net(**{'a': 1})", "net(size=1, 2)"],
)  # fmt: skip
def test_refuses_what_is_not_plain_data(text):
    with pytest.raises(ParingError):
        parse(text)


def test_executes_nothing(tmp_path):
    mark = tmp_path / "mark"
    with pytest.raises(ParingError, match="plain data"):
        parse(f"net(size=open({str(mark)!r}, 'w'))")
    assert not mark.exists()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="()=:"), min_size=1)


@given(names, names, st.dictionaries(st.sampled_from(["size", "width", "labels"]), json_values))
def test_what_an_entry_prints_parses_to_it(scheme, rest, arguments):
    entry = parse(f"{scheme}:{rest}")
    entry = Entry(entry.scheme, entry.rest, arguments)
    assert parse(str(entry)) == entry


@given(st.text("ab=1,(): '\\/.", max_size=30))
def test_every_text_is_an_entry_or_a_clear_error(text):
    try:
        entry = parse(text)
    except ParingError:
        return
    assert parse(str(entry)) == entry
