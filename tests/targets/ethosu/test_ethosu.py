"""Ethos-U: Vela, whole, as a subprocess."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.record import Origin
from paring.core.target import Target, why_not_run, why_not_timed
from paring.targets.ethosu import RULES, Accelerator, EthosU, EthosUOptions, vela
from paring.targets.int8.operators import Operator
from paring.targets.int8.rules import CONVERSIONS, read
from paring.testing.int8 import flattened, made, sine_and_squeeze
from paring.testing.models import quantized
from paring.testing.targets import Int8ExportContract


class TestEthosU(Int8ExportContract):
    @pytest.fixture
    def target(self) -> Target:
        return EthosU()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return EthosU().export(quantized(), tmp_path_factory.mktemp("ethosu") / "m.vela.tflite")


def test_all_of_an_ordinary_network_runs_on_the_npu(file: Path) -> None:
    found = {one.metric: one for one in EthosU().estimate(file, "artifact:ethosu")}
    assert found["on_processor"].value == 0
    assert found["accelerated"].value > 5
    assert found["latency"].unit == "ms"
    assert found["latency"].value == pytest.approx(1000 * found["cycles"].value / 500e6)  # at 500 MHz
    assert min(found["sram"].value, found["flash"].value) > 0
    assert {one.origin for one in found.values()} == {Origin.ESTIMATED}
    assert {one.source for one in found.values()} == {vela.name()}
    assert found["latency"].device == "ethos-u55-128 · Ethos_U55_High_End_Embedded · Shared_Sram"
    assert EthosU().describe(file).operators == {"CUSTOM": 1}


def test_so_does_one_with_activations_of_sixteen_bits(tmp_path: Path) -> None:
    made_of = EthosU().export(quantized("int16"), tmp_path / "m.vela.tflite")
    found = {one.metric: one.value for one in EthosU().estimate(made_of, "artifact:ethosu")}
    assert found["on_processor"] == 0


@pytest.mark.parametrize("build", [sine_and_squeeze, flattened])
def test_what_is_predicted_of_the_float_model_is_what_vela_leaves(build: Callable[[], Model], tmp_path: Path) -> None:
    given = build()
    predicted = EthosU().check(given)
    assert not any(problem.severity == "refuses" for problem in predicted)
    file = EthosU().export(made(given), tmp_path / "m.vela.tflite")
    left = Counter(kind for kind, _ in EthosU().describe(file).on_processor if kind not in CONVERSIONS)
    assert left
    named = [one.problem.partition(" on the processor")[0] for one in predicted]  # the reason may name it again
    assert Counter(kind for one in named for kind in re.findall(r"\b[A-Z_]{3,}\b", one)) == left
    held = EthosU().describe(file).operators  # they are still there, beside the parts that the NPU runs
    assert all(held[kind] == count for kind, count in left.items())
    found = {one.metric: one.value for one in EthosU().estimate(file, "artifact:ethosu")}
    assert found["on_processor"] == len(EthosU().describe(file).on_processor)
    assert "latency" not in found  # the processor's part is not known
    assert found["npu_latency"] > 0
    rows = EthosU().layers(file)
    assert sum(row["target"] == "CPU" for row in rows) == found["on_processor"]


def test_the_rules_name_the_operators_that_vela_does(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "ethosu.vela", "--supported-ops-report"], cwd=tmp_path, check=True)
    report = (tmp_path / "SUPPORTED_OPS.md").read_text()
    tables = {}
    for family, title in (("u55", "Ethos-U55 and Ethos-U65"), ("u85", "Ethos-U85")):
        part = report.split(f"## {title} TFLite Summary Table")[1].split("\n## ")[0]
        tables[family] = set(re.findall(r"^\| ([A-Z0-9_]+) \|", part, re.MULTILINE))
    for family, names in tables.items():
        assert set(read(RULES)[family].operators) == names
    assert re.search(r"[\d.]+", read(RULES)["u55"].source.split("Vela ")[1])[0] in report  # type: ignore[index]


def test_the_accelerators_are_those_that_vela_knows() -> None:
    told = subprocess.run([sys.executable, "-m", "ethosu.vela", "--help"], capture_output=True, text=True, check=True)
    assert set(get_args(Accelerator)) == set(re.findall(r"ethos-u\d+-\d+", told.stdout))


def test_each_family_has_its_defaults(tmp_path: Path) -> None:
    file = EthosU().export(quantized(), tmp_path / "m.vela.tflite", EthosUOptions(accelerator="ethos-u85-256"))
    (latency,) = [one for one in EthosU().estimate(file, "s") if one.metric == "latency"]
    assert latency.device == "ethos-u85-256 · Ethos_U85_SYS_DRAM_Mid · Dedicated_Sram_384KB"


def test_options_of_another_family_or_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="begins with Ethos_U65_"):
        EthosUOptions(accelerator="ethos-u65-256", system_config="Ethos_U55_Deep_Embedded")
    with pytest.raises(ValueError, match="ethos-u55-128"):
        EthosUOptions.model_validate({"accelerator": "ethos-u55-129"})
    with pytest.raises(ParingError, match=r"Memory_Mode\.Nowhere not found"):
        EthosU().export(quantized(), tmp_path / "m.vela.tflite", EthosUOptions(memory_mode="Nowhere"))
    assert not list(tmp_path.iterdir())


def test_it_does_not_run_here(file: Path) -> None:
    assert "Ethos-U" in str(why_not_run(EthosU()))
    assert why_not_timed(EthosU()) == why_not_run(EthosU())
    with pytest.raises(ParingError, match="Ethos-U"):
        EthosU().open(file)


@pytest.mark.parametrize("content", [None, b"", b"    TFL3", b"not one of its files"])
def test_a_file_that_vela_did_not_make_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "m.vela.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParingError) as caught:
        EthosU().describe(path)
    assert caught.value.where == str(path)


def test_each_family_is_judged_by_its_own_rules() -> None:
    chosen = [Operator("GATHER", "words", source="aten.embedding.default"), Operator("CONV_2D", "stem")]
    for accelerator, told in {
        "ethos-u55-128": ["an Ethos-U85 runs it"], "ethos-u65-256": ["an Ethos-U85 runs it"], "ethos-u85-256": [],
    }.items():  # fmt: skip
        found = EthosU().tailored(EthosUOptions.model_validate({"accelerator": accelerator})).judge(chosen)
        assert [one.remedy.split("; ")[-1] for one in found] == told
