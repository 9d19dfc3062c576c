"""What is predicted for the Edge TPU, beside logs of its compiler that are published."""

from collections import Counter

import pytest

from paring.targets.edgetpu import compiler
from paring.targets.edgetpu.mapping import CACHE, mapping, rules
from paring.targets.int8.operators import Operator


def several(**counts: int) -> list[Operator]:
    return [Operator(name, f"{name}_{i}", image=(1, 8, 8, 8)) for name, count in counts.items() for i in range(count)]


def row(name: str, count: int, status: str) -> str:
    return f"{name:<30} {count:<10} {status}\n"


HEAD = "Edge TPU Compiler version 15.0.340273435\nInput: a.tflite\nOutput: a_edgetpu.tflite\n\n"
LATER, LACKS = "More than one subgraph is not supported", "Operation not supported"
LIMITED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
FLOAT = "Operation is working on an unsupported data type"
SOFTMAX = Operator("SOFTMAX", "softmax", image=(1, 10))

# (where it is published, the operators in an order that it allows, its rows)
PUBLISHED = [
    (
        "google-coral/edgetpu, issue 342: the first TRANSPOSE, after a QUANTIZE and a PAD, cuts the graph",
        [
            *several(QUANTIZE=1, PAD=1, TRANSPOSE=1),
            *several(PAD=17, CONV_2D=35, DEPTHWISE_CONV_2D=17, ADD=10, TRANSPOSE=69, MEAN=2, FULLY_CONNECTED=1),
            Operator("QUANTIZE", "end", "float32"),
        ],
        row("TRANSPOSE", 70, LACKS) + row("PAD", 17, LATER) + row("PAD", 1, compiler.MAPPED)
        + row("FULLY_CONNECTED", 1, LATER) + row("ADD", 10, LATER) + row("MEAN", 2, LATER)
        + row("QUANTIZE", 1, compiler.MAPPED) + row("QUANTIZE", 1, LIMITED) + row("DEPTHWISE_CONV_2D", 17, LATER)
        + row("CONV_2D", 35, LATER),
    ),
    (
        "system-software-lab/nrf20, convert/quantize/README.md, mnist7: int8 from end to end",
        [*several(CONV_2D=2, MAX_POOL_2D=2, RESHAPE=1, FULLY_CONNECTED=2), SOFTMAX],
        row("SOFTMAX", 1, compiler.MAPPED) + row("FULLY_CONNECTED", 2, compiler.MAPPED)
        + row("RESHAPE", 1, compiler.MAPPED) + row("CONV_2D", 2, compiler.MAPPED)
        + row("MAX_POOL_2D", 2, compiler.MAPPED),
    ),
    (
        "the same, mnist4: with float ends",
        [
            Operator("QUANTIZE", "in", "float32"), *several(CONV_2D=2, MAX_POOL_2D=2, RESHAPE=1, FULLY_CONNECTED=2),
            SOFTMAX, Operator("DEQUANTIZE", "out", "float32"),
        ],
        row("RESHAPE", 1, compiler.MAPPED) + row("CONV_2D", 2, compiler.MAPPED) + row("SOFTMAX", 1, compiler.MAPPED)
        + row("QUANTIZE", 1, LIMITED) + row("DEQUANTIZE", 1, FLOAT) + row("MAX_POOL_2D", 2, compiler.MAPPED)
        + row("FULLY_CONNECTED", 2, compiler.MAPPED),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("operators", "rows"), [one[1:] for one in PUBLISHED], ids=[one[0] for one in PUBLISHED])
def test_it_agrees_with_what_the_compiler_says(operators: list[Operator], rows: str) -> None:
    log, found = compiler.parse(HEAD + rows), mapping(operators)
    wanted: Counter[str] = Counter()
    for (name, status), count in log.operators.items():
        wanted[name] += count * (status == compiler.MAPPED)
    assert Counter(one.name for one in found.mapped) == +wanted
    assert len(found.left) == sum(log.left.values())
    later = {name: count for (name, status), count in log.left.items() if status == LATER}
    assert Counter(one.name for one in found.behind) == later


def test_the_log_tells_memory() -> None:
    """The lines of MobileNet V1 224 in coral.ai/docs/edgetpu/compiler, as compiler 2.0 wrote them."""
    lines = (
        "On-chip memory available for caching model parameters: 6.91MiB\n"
        "On-chip memory used for caching model parameters: 4.21MiB\n"
        "Off-chip memory used for streaming uncached model parameters: 0.00B\n"
    )
    log = compiler.parse(HEAD + lines + row("CONV_2D", 1, compiler.MAPPED))
    assert (log.on_chip, log.off_chip, log.mapped) == (int(4.21 * 2**20), 0, 1)
    assert int(6.91 * 2**20) == CACHE


def test_what_is_no_log_is_told() -> None:
    with pytest.raises(ValueError, match="no log"):
        compiler.parse("Internal compiler error. Aborting!")


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        (Operator("MEAN", "a", image=(1, 7, 7, 6), axes=(1, 2, 3)), "multiple of 4"),
        (Operator("MEAN", "a", image=(1, 7, 7, 6), axes=(1, 2)), None),
        (Operator("CONV_2D", "a", dilation=(1, 2)), "dilated differently"),
        (Operator("MAX_POOL_2D", "a", fused="RELU"), "applies RELU"),
        (Operator("SOFTMAX", "a", image=(1, 4, 10)), "more than one dimension"),
        (Operator("SOFTMAX", "a", image=(1, 16001)), "at most 16000"),
        (Operator("LEAKY_RELU", "a"), "has no LEAKY_RELU"),
        (Operator("ADD", "a", "float32"), "in float"),
    ],
)  # fmt: skip
def test_the_published_limits(operator: Operator, reason: str | None) -> None:
    found = rules().reason(operator)
    assert found is None if reason is None else reason in str(found)


def test_three_inner_axes_alone_may_be_long() -> None:
    assert mapping([Operator("ADD", "a", image=(2, 8, 8, 8))]).left
    assert not mapping([Operator("ADD", "a", image=(1, 8, 8, 8))]).left
