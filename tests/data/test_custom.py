import sys

import pytest

import paring.data
from paring.core.errors import ParingError, UnknownName

CODE = """
import paring.data
from paring.core.model import TensorSpec

class Mine:
    name, identity, labels, preprocessing = "mine", "1", ("a", "b"), {}
    inputs = (TensorSpec("image", ("batch", 1, 4, 4)),)
    def __init__(self, count=3): self.count = count
    def size(self, split): return self.count
    def batches(self, split, batch_size, **options): return iter(())
    def loss(self, outputs, targets, label_smoothing=0.0): return None

class Half:
    name = "half"
    size = 3

ready = Mine()
number = 3
def factory(): return Mine()
def seeded(count=3, *, seed): task = Mine(count); task.seed = seed; return task
def half(): return Half()
def empty(): return Mine(0)
def shapeless(): task = Mine(); task.inputs = [(1, 2)]; return task
def broken(): raise RuntimeError("a fault of the user's own")
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "my_tasks").mkdir()
    (tmp_path / "my_tasks" / "clothes.py").write_text(CODE)
    (tmp_path / "my_tasks" / "needy.py").write_text("import a_package_that_nobody_has")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    for name in [name for name in sys.modules if name.startswith("my_tasks")]:
        del sys.modules[name]


def load(attribute, **options):
    return paring.data.open(f"python:my_tasks.clothes:{attribute}", **options)


@pytest.mark.parametrize("attribute", ["ready", "factory", "Mine", "Mine(count=5)", "seeded"])
def test_a_task_a_class_or_a_factory(attribute):
    task = load(attribute)
    assert task.name == "mine"
    assert task.size("test") == (5 if "5" in attribute else 3)


def test_a_factory_is_given_the_seed_it_asks_for():
    assert load("seeded(count=4)", seed=7).seed == 7
    assert load("seeded(seed=1)", seed=7).seed == 1


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        ("half", "has no identity, inputs, labels, preprocessing, size, batches, loss"),
        ("number", "neither a task nor a factory"),
        ("shapeless", "no tuple of TensorSpec"),
        ("empty", "the train split is empty"),
        ("factory(count=3)", "count"),
        ("ready(count=3)", "takes no options"),
    ],
)
def test_what_is_no_task_is_refused(attribute, problem):
    with pytest.raises(ParingError, match=problem):
        load(attribute)


def test_names_that_lead_nowhere():
    with pytest.raises(UnknownName, match="'factory'"):
        load("factori")
    with pytest.raises(ParingError, match=r"no module 'my_tasks\.shoes'"):
        paring.data.open("python:my_tasks.shoes:task")
    with pytest.raises(ParingError, match=r"package\.module:attribute"):
        paring.data.open("python:my_tasks.clothes")


def test_faults_of_the_users_code_are_shown_as_they_are():
    with pytest.raises(RuntimeError, match="the user's own"):
        load("broken")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_nobody_has") as caught:
        paring.data.open("python:my_tasks.needy:task")
    assert not isinstance(caught.value, ParingError)
