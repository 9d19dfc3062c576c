"""A full-int8 `.tflite` becomes one for an Ethos-U; what Vela says of it stays in the file, as metadata."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from paring.core.errors import ParingError
from paring.core.record import Origin, Record
from paring.core.target import Contents
from paring.targets.ethosu import EthosUOptions, vela
from paring.targets.int8.operators import of_file
from paring.targets.litert import contents as litert
from paring.targets.litert import flatbuffer

METADATA = "paring.vela"
_SUMMARY = (
    "inference_time", "cycles_total", "core_clock", "sram_memory_used", "dram_memory_used", "on_chip_flash_memory_used",
    "off_chip_flash_memory_used",
)  # fmt: skip
_KEPT = {"Original Operator": "operator", "Target": "target", "Op Cycles": "cycles", "Name": "name"}


def compiled(content: bytes, options: EthosUOptions) -> bytes:
    """The file that Vela makes, with its summary and its layers.

    Raises:
        ParingError: Vela refuses the file or the options.
    """
    system, memory = options.sections
    made = vela.compiled(content, options.accelerator, options.config, system, memory)
    before = {one.where: one.name for one in of_file(content)}
    file = flatbuffer.read(made.content)
    flatbuffer.write_metadata(
        file, METADATA,
        {
            "vela": vela.name(), "accelerator": options.accelerator, "system_config": system, "memory_mode": memory,
            "summary": {key: float(made.summary[key]) for key in _SUMMARY},
            "layers": [{new: row[old] for old, new in _KEPT.items()} for row in made.layers],
            "on_cpu": [[before.get(row["Name"], row["Original Operator"]), row["Name"]] for row in made.layers
                       if row["Target"] == "CPU"],
        },
    )  # fmt: skip
    return flatbuffer.packed(file)


def told(artifact: Path) -> Any:
    """What Vela said of a file when it made it.

    Raises:
        ParingError: there is no such file, or it is none that paring had Vela make.
    """
    try:
        content = artifact.read_bytes()
    except OSError as error:
        raise ParingError(f"cannot be read: {error.strerror}", str(artifact), "name a .vela.tflite file") from error
    try:
        found = flatbuffer.read_metadata(content, METADATA) if content[4:8] == b"TFL3" else None
    except Exception as error:  # a damaged flatbuffer fails in any way
        raise ParingError("is damaged", str(artifact), "export it again") from error
    if found is None:
        raise ParingError("is no file that paring had Vela make", str(artifact), "export the model to ethosu")
    return found


def records(artifact: Path, stage: str) -> list[Record]:
    """Vela's figures, by a model of the NPU. Operators are counted as Vela takes them apart, activations alone too."""
    said = told(artifact)
    summary, layers = said["summary"], said["layers"]
    device = f"{said['accelerator']} · {said['system_config']} · {said['memory_mode']}"
    on_npu = sum(row["target"] == "NPU" for row in layers)
    on_cpu = len(layers) - on_npu
    kib = 1024
    flash = summary["on_chip_flash_memory_used"] + summary["off_chip_flash_memory_used"]
    figures = {
        # without the processor's part, of which Vela knows nothing
        "npu_latency" if on_cpu else "latency": (1000 * summary["inference_time"], "ms"),
        "cycles": (summary["cycles_total"], "1"),
        "sram": (kib * summary["sram_memory_used"], "bytes"),
        "dram": (kib * summary["dram_memory_used"], "bytes"),
        "flash": (kib * flash, "bytes"),
        "accelerated": (on_npu, "1"),
        "on_processor": (on_cpu, "1"),
    }
    return [
        Record(
            stage=stage, metric=metric, value=value, unit=unit, device=device, origin=Origin.ESTIMATED,
            source=said["vela"],
        )
        for metric, (value, unit) in figures.items()
    ]  # fmt: skip


def contents(artifact: Path) -> Contents:
    """Operators and tensors of a file, and which operators the processor runs."""
    said = told(artifact)
    found = litert.contents(artifact.read_bytes())
    return replace(found, on_processor=tuple((kind, where) for kind, where in said["on_cpu"]))
