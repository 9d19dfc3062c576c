import subprocess
import sys

import pytest

import paring.data
from paring.core.errors import MissingExtra, ParingError, UnknownName


def test_importing_loads_no_framework():
    code = "import sys, paring.data; print([n for n in ('torch', 'PIL', 'sklearn', 'numpy') if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", paring.data.DATASETS.names())
def test_every_name_leads_somewhere(name):
    pytest.importorskip({"digits": "sklearn", "images": "PIL"}.get(name, "torch"))
    assert callable(paring.data.DATASETS.load(name))


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(UnknownName, match="'fashion-mnist'"):
        paring.data.open("fashion_mnist")


def test_an_unknown_option_gives_the_nearest():
    with pytest.raises(UnknownName, match="'size'"):
        paring.data.open("fashion-mnist(sise=32)")


@pytest.mark.parametrize(
    "name",
    [
        "fashion-mnist(size=0)",
        "fashion-mnist(size=True)",
        "fashion-mnist(size=32.0)",
        "fashion-mnist(size='32')",
        "npz:a.npz(layout='HWCN')",
        "npz:a.npz(labels='abc')",
        "idx:a(flip=1)",
        "fashion-mnist:folder",
        "npz",
        "images",
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_read(name):
    with pytest.raises(ParingError) as caught:
        paring.data.open(name)
    assert caught.value.where == name


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "paring.data.digits", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match=r"paring\[digits\]"):
        paring.data.open("digits")
