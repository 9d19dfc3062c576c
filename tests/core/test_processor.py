"""What the processor is called, and staying on its cores."""

import os
from pathlib import Path

import pytest

from paring.core import processor


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("model name\t: AMD EPYC\nflags\t\t: fpu avx avx2 fma\n", "AMD EPYC (AVX2)"),
        (
            "model name\t: AMD EPYC\nflags\t\t: avx2 avx512bw avx512_vnni\n\nmodel name\t: other\n",
            "AMD EPYC (AVX-512 VNNI)",
        ),
        ("Features\t: fp asimd asimddp\nModel\t\t: Raspberry Pi 5 Model B\n", "Raspberry Pi 5 Model B (dot product)"),
        ("model name\t: old\nflags\t\t: sse2\n", "old"),
    ],
)
def test_the_processor_is_told_with_its_best_integer_instructions(told: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    assert processor.cpu(tmp_path / "cpuinfo") == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("A (AVX2)", True),
        ("A (AVX-512)", True),
        ("A (AVX-512 VNNI)", False),
        ("A (AVX-VNNI)", False),
        ("A (I8MM)", False),
    ],
)
def test_products_saturate_where_there_is_no_instruction_that_adds_four(name: str, wanted: bool) -> None:
    assert processor.saturates(name) is wanted


@pytest.mark.parametrize(
    ("machine", "wanted"), [("x86_64", True), ("AMD64", True), ("aarch64", False), ("arm64", False)]
)
def test_a_processor_that_tells_no_instructions_is_taken_for_the_oldest_of_its_kind(machine: str, wanted: bool) -> None:
    assert processor.saturates("some processor", machine) is wanted


def test_a_processor_with_amx_adds_four(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("model name\t: Xeon\nflags\t\t: avx2 avx512bw avx512_vnni amx_int8\n")
    assert processor.saturates(processor.cpu(tmp_path / "cpuinfo")) is False


def test_a_processor_that_linux_does_not_describe_has_a_name(tmp_path: Path) -> None:
    assert processor.cpu(tmp_path / "none")


def test_pinning_ends() -> None:
    before = os.sched_getaffinity(0)
    with processor.pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_a_board_that_cpuinfo_does_not_name_is_named_by_its_device_tree(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("Features\t: fp asimd\nCPU part\t: 0xd08\n")
    (tmp_path / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    assert processor.cpu(tmp_path / "cpuinfo", tmp_path / "model") == "Raspberry Pi 4 Model B Rev 1.4 (NEON)"
