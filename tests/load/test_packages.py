"""`torchvision:` and `timm:`, with stand-ins: neither package is needed, and a broken one says what failed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from paring import load
from paring.core.errors import ParingError, UnknownName
from paring.load import saved

WORKING = """
from torch import nn
def list_models(): return ["mobilenet_v2", "resnet18"]
def get_model(name, weights=None, num_classes=3):
    if weights == "WRONG": raise KeyError(weights)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, num_classes))
create_model = get_model
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a package of that name and content before all others."""

    def put(name: str, content: str) -> None:
        for module in [key for key in sys.modules if key.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        folder = tmp_path / "site" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(content if name == "timm" else "")
        (folder / "models.py").write_text(content)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    yield put
    for module in [key for key in sys.modules if key.partition(".")[0] in ("torchvision", "timm")]:
        del sys.modules[module]


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_name_becomes_a_model(package: str, install: Callable[[str, str], None], tmp_path: Path) -> None:
    install(package, WORKING)
    model = load.open(f"{package}:mobilenet_v2(weights='DEFAULT', num_classes=5)", shape=(3, 2, 2))
    assert model.outputs[0].shape == ("batch", 5)
    again = saved.load(saved.save(model, tmp_path / "m.safetensors"))
    image = {"image": torch.randn(2, 3, 2, 2)}
    assert torch.equal(again(image)["output"], model(image)["output"])


def test_unknown_names_and_options_are_told(install: Callable[[str, str], None]) -> None:
    install("torchvision", WORKING)
    with pytest.raises(UnknownName, match="mobilnet") as caught:
        load.open("torchvision:mobilnet_v2", shape=(3, 2, 2))
    assert "mobilenet_v2" in caught.value.remedy
    with pytest.raises(ParingError, match="cannot build it: KeyError"):
        load.open("torchvision:mobilenet_v2(weights='WRONG')", shape=(3, 2, 2))


def test_a_broken_package_says_what_failed(install: Callable[[str, str], None]) -> None:
    install("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    with pytest.raises(ParingError, match=r"importing torchvision.models fails: RuntimeError: operator") as caught:
        load.open("torchvision:mobilenet_v2", shape=(3, 2, 2))
    assert torch.__version__ in caught.value.remedy


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(ParingError, match="needs the package 'timm'") as caught:
        load.open("timm:resnet18", shape=(3, 2, 2))
    assert "pip install timm" in caught.value.remedy
