"""A model against a device: one list, before any work."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import paring
from paring import checking
from paring.checking import findings, without_room
from paring.cli import app
from paring.core.device import Device
from paring.core.errors import ParingError
from paring.core.target import Problem
from paring.steps import STEPS
from paring.testing.int8 import sine_and_squeeze
from paring.testing.models import tiny, unknown_operator

MODEL = "torch:paring.testing.networks:tiny_network"
RECIPE = {"version": 1, "model": MODEL, "data": "python:paring.testing.models:TinyTask"}


def device(**figures: object) -> Device:
    return Device.model_validate({"name": "board", "description": "a board", "targets": ["litert"], **figures})


def of(found: list[Problem], severity: str) -> str:
    return "\n".join(str(one) for one in found if one.severity == severity)


def test_what_refuses_comes_first_and_all_is_told_at_once() -> None:
    found = findings(unknown_operator(), device(ram="300 B", flash="1 KiB"))
    kinds = [one.severity for one in found]
    assert kinds == sorted(kinds, key=["refuses", "slow", "note"].index)
    assert of(found, "refuses").count("LiteRT has no lowering") == 2


def test_a_target_is_judged_by_the_options_of_the_device() -> None:
    def told(accelerator: str) -> str:
        options = {"targets": [{"ethosu": {"accelerator": accelerator}}]}
        return of(findings(sine_and_squeeze(), device(**options)), "slow")

    assert "an Ethos-U55 or U65 has no SIN" in told("ethos-u55-128")
    assert "an Ethos-U85 has no SIN" in told("ethos-u85-256")
    with pytest.raises(ParingError, match="device board"):
        told("ethos-u99")


def test_channels_that_leave_lanes_idle_are_slow() -> None:
    neon = {"unit": "Neon", "lanes": {"int8": 16, "float32": 4}}
    found = [one for one in findings(tiny(), device(accelerates=neon)) if "idle" in one.problem]
    (one,) = found  # the ten classes are as they are
    assert one.severity == "slow"
    assert one.problem.startswith("8 channels can leave 50 % of Neon idle, which computes on 16 of int8")
    assert (one.where, "round_to: 16" in one.remedy) == ("stem.0 and 2 more layers", True)
    narrow = {"unit": "Neon", "lanes": {"float32": 4}}
    assert not of(findings(tiny(), device(targets=["later"], accelerates=narrow)), "slow")  # 8 are two times 4


def test_a_target_that_this_version_lacks_is_told_plainly() -> None:
    found = findings(tiny(), device(targets=["later", "litert"], ram="300 B"))
    assert "no target later" in of(found, "refuses")
    assert "does not fit" in of(found, "refuses")  # the rest is told all the same
    assert "no target later" in of(findings(tiny(), device(targets=["litert", "later"])), "note")
    assert "later" not in str(findings(tiny(), device(targets=["later"]), ["litert"]))


def test_what_users_of_a_target_should_know_is_told() -> None:
    assert "ExecuTorch succeeds it" in of(findings(tiny(), device(targets=["torchmobile"])), "note")
    done = CliRunner().invoke(app, ["check", MODEL, "--target", "torchmobile", "--shape", "1,8,8"])
    assert done.exit_code == 0
    assert "ExecuTorch succeeds it" in done.output
    assert f"torchmobile can run {MODEL}" in done.output


def test_a_model_that_cannot_be_traced_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise ValueError("control flow")

    monkeypatch.setattr(checking, "trace", fails)
    (one,) = findings(tiny(), device())
    assert (one.severity, "control flow" in one.problem) == ("refuses", True)


def steps(*names: str) -> list[Any]:
    return [(STEPS.load(name)(), None) for name in names]


def test_a_recipe_is_refused_only_where_no_file_of_it_can_fit() -> None:
    small, tight = device(flash="300 B"), device(flash="1 KiB")
    assert without_room(tiny(), small, steps("quantize.static"))
    assert not without_room(tiny(), small, steps("prune.channels", "quantize.static"))  # the result will tell
    assert not without_room(tiny(), tight, steps("quantize.static"))
    assert without_room(tiny(), tight, steps("finetune"))  # it stays float32
    assert not without_room(tiny(), device(), [])


def test_compress_refuses_before_it_begins(tmp_path: Path) -> None:
    profile = tmp_path / "small.yaml"
    profile.write_text("name: small\ndescription: small\ntargets: [litert]\nflash: 300 B\n")
    with pytest.raises(ParingError, match=r"does not fit in float32.*300 B") as caught:
        paring.compress({**RECIPE, "device": str(profile)}, out=tmp_path / "run")
    assert "small" in caught.value.where
    assert not (tmp_path / "run").exists()
    profile.write_text("name: small\ndescription: small\ntargets: [later]\n")
    with pytest.raises(ParingError, match="no target is called 'later'"):
        paring.compress({**RECIPE, "device": str(profile)}, out=tmp_path / "run")


def test_the_command_exits_with_1_only_where_it_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "paring" / "devices"
    own.mkdir(parents=True)
    (own / "local.yaml").write_text("name: local\ndescription: mine\ntargets: [litert]\nram: 300 B\n")
    run = CliRunner().invoke
    fits = run(app, ["check", MODEL, "--shape", "1,8,8", "--device", "raspberry-pi-4"])
    assert (fits.exit_code, "raspberry-pi-4 can run" in fits.output) == (0, True)
    assert "slow    stem.0" in fits.output
    not_ = run(app, ["check", MODEL, "--shape", "1,8,8", "--device", "local", "--json"])
    told = json.loads(not_.output)
    assert (not_.exit_code, told["runs"], told["device"]) == (1, False, "local")
    assert {one["severity"] for one in told["findings"]} == {"refuses", "note"}
    assert any("is yours" in one["problem"] for one in told["findings"])


def test_devices_are_listed_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "paring" / "devices"
    own.mkdir(parents=True)
    (own / "broken.yaml").write_text("name: broken\nrom: 1\n")
    run = CliRunner().invoke
    listed = run(app, ["devices"])
    assert listed.exit_code == 0
    assert "raspberry-pi-pico" in listed.output
    assert "broken.yaml" in listed.output  # what is wrong hides no other
    shown = run(app, ["devices", "coral-usb"])
    assert "memory: 7.63 MiB\n    Edge TPU Compiler" in shown.output
    assert json.loads(run(app, ["devices", "coral-usb", "--json"]).output)[0]["accelerates"]["memory"] == 8_000_000
