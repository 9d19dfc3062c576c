import pytest

from paring.core.model import Skipped
from paring.core.record import Origin, Record
from paring.report import Report, Requirement, Stage

LITERT = "local: x86-64, 4 cores · LiteRT 2.3.0 · 1 thread"


def record(stage, metric, value, unit, spread=None, **more):
    return Record(
        stage=stage,
        metric=metric,
        value=value,
        unit=unit,
        spread=spread,
        **{
            "device": LITERT,
            "source": "paring.measure",
            **more,
        },
    )


def measured(stage, accuracy, size, latency, ratio):
    counted = {"origin": Origin.ESTIMATED, "device": "PyTorch 2.13.0"}
    return (
        record(stage, "accuracy", accuracy, "%", 0.56, samples=10_000),
        record(stage, "size", size, "bytes"),
        record(stage, "latency", latency, "ms", 0.031, samples=200),
        record(stage, "latency_ratio", ratio, "1", 0.013, samples=200),
        record(stage, "peak_memory", 48_200_000, "bytes", samples=3),
        record(stage, "parameters", 590_234, "1", **counted),
        record(stage, "macs", 5_312_000, "1", **counted),
        record(stage, "agreement", 99.85, "%", 0.09, samples=2_000),
    )


@pytest.fixture
def report():
    """A run with a step that shrinks the model, one that has no size of its own, and an artifact."""
    return Report(
        name="mobilenet_v2-fashion",
        created="2026-11-24T14:03:11+00:00",
        paring="0.1.0",
        environment={"cpu": "a CPU", "cores": 4, "libraries": {"torch": "2.13.0"}},
        recipe={"version": 1, "steps": [{"prune.channels": {"speedup": 2.0}}]},
        stages=(
            Stage(name="baseline", title="Trained model", seconds=3.2),
            Stage(
                name="01-prune.channels",
                title="Channels removed",
                changed="Took out 38 % of the channels",
                config={"speedup": 2.0, "recover": {"epochs": 3}},
                skipped=(Skipped("classifier.1", "its outputs are the classes"),),
                seconds=754.2,
                cached=True,
                files=("steps/01-prune.channels/model.safetensors",),
            ),
            Stage(name="02-quantize.static", title="8-bit weights and activations"),
            Stage(name="artifact:litert", title="LiteRT file", config={"io": "float32"}),
        ),
        records=(
            *measured("baseline", 92.41, 2_913_840, 3.412, 1.0),
            *measured("01-prune.channels", 92.02, 1_412_840, 1.934, 0.567),
            record("02-quantize.static", "accuracy", 91.7, "%", 0.54, device="PyTorch 2.13.0"),
            *measured("artifact:litert", 91.66, 391_168, 0.8412, 0.25),
        ),
        requirements=(
            Requirement(name="accuracy_drop", limit=1.0, unit="pt", value=0.75, met=True),
            Requirement(name="latency", limit=0.8, unit="ms", value=0.8412, met=False, shortfall=0.0412),
        ),
        notes=("The latency budget is missed by 0.04 ms.",),
    )


HOSTILE = """<script>owned()</script>"'&{{ 7 * 7 }}<img src=x onerror=owned()>\x1b[31m</script>"""


@pytest.fixture
def hostile():
    """A report in which every text tries to break out of its place."""
    stages = tuple(
        Stage(
            name=prefix + HOSTILE,
            title=HOSTILE,
            changed=HOSTILE,
            config={HOSTILE: HOSTILE},
            skipped=(Skipped(HOSTILE, HOSTILE),),
            files=(HOSTILE,),
        )
        for prefix in ("01-", "artifact:")
    )
    stage, artifact = (stage.name for stage in stages)
    return Report(
        name=HOSTILE,
        created=HOSTILE,
        paring=HOSTILE,
        environment={HOSTILE: {HOSTILE: [HOSTILE]}},
        recipe={HOSTILE: HOSTILE},
        stages=stages,
        records=(
            record(stage, "accuracy", 90, HOSTILE, 1.0, device=HOSTILE, source=HOSTILE),
            record(stage, "latency", 2, HOSTILE, 1.0, device=HOSTILE, source=HOSTILE),
            record(stage, HOSTILE, 2, HOSTILE),
            record(artifact, "accuracy", 90, "%", 1.0),
            record(artifact, "size", 2, "bytes"),
        ),
        requirements=(Requirement(name=HOSTILE, limit=1, unit=HOSTILE, value=2, met=False, shortfall=1),),
        notes=(HOSTILE,),
    )
