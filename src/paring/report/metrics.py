"""What the metrics are called and what they mean. A metric that is not listed is shown under its own name."""

from dataclasses import dataclass

_WILSON = "± is half the width of the 95 % Wilson interval."
_QUARTILES = "± is half the interquartile range."


@dataclass(frozen=True, slots=True)
class Metric:
    """How to speak of one metric.

    Attributes:
        label: heading of a column or an axis.
        meaning: one or two sentences for who reads the report, the meaning of its spread included.
    """

    label: str
    meaning: str


METRICS = {
    "accuracy": Metric(
        "accuracy", f"Share of the test split that is answered correctly. Nothing was chosen on that split. {_WILSON}"
    ),
    "size": Metric("size", "Bytes of the file that ships."),
    "zipped_size": Metric(
        "zipped", "Bytes of that file deflated at level 9, as an app's package or an update carries it."
    ),
    "latency": Metric("latency", f"Median time of one inference on one sample. {_QUARTILES}"),
    "latency_ratio": Metric(
        "latency ratio",
        f"Latency divided by that of the float baseline in the same runtime, timed in turns: below 1 is faster. "
        f"{_QUARTILES}",
    ),
    "peak_memory": Metric("peak memory", "Most memory held by a fresh process that loads the file and runs it."),
    "cold_start": Metric(
        "cold start", f"Time to load the file and give the first answer, in a fresh process. {_QUARTILES}"
    ),
    "first_inference": Metric("first inference", f"Time of the first inference of a fresh process. {_QUARTILES}"),
    "on_integers": Metric(
        "on integers", "Share of the file's operators that compute on integers; the notes name the rest."
    ),
    "accelerated": Metric("accelerated", "How many of the file's operators the device's accelerator runs."),
    "on_processor": Metric("on processor", "How many are left to the device's processor; the notes name them."),
    "npu_latency": Metric("NPU's part", "Time of the accelerator in one inference, without the processor's."),
    "cycles": Metric("cycles", "Of the accelerator, in one inference."),
    "arena": Metric("arena", "Memory that the interpreter needs for tensors and bookkeeping, besides the file."),
    "flash": Metric("flash", "Read-only memory that the file takes, without the runtime's code."),
    "sram": Metric("SRAM", "Memory on the chip that one inference needs."),
    "dram": Metric("DRAM", "Memory beside the chip that one inference needs."),
    "on_chip": Metric("on chip", "Parameters that stay on the accelerator between inferences."),
    "off_chip": Metric("streamed", "Parameters that the accelerator fetches at each inference."),
    "parameters": Metric("parameters", "Numbers that the model has learned."),
    "macs": Metric("MACs", "Multiply-accumulate operations of one inference. A cost, not a speed."),
    "agreement": Metric(
        "agreement", f"Share of samples on which the file gives the answer of the stage's PyTorch form. {_WILSON}"
    ),
    "sqnr": Metric("SQNR", "Signal of the stage's PyTorch form over the noise that the file adds to it."),
    "baseline_agreement": Metric(
        "agreement with baseline", f"Share of samples on which the stage gives the original model's answer. {_WILSON}"
    ),
    "baseline_sqnr": Metric("SQNR to baseline", "Signal of the original model over the noise that the stage adds."),
}


def label(metric: str) -> str:
    """What to call a metric."""
    return METRICS[metric].label if metric in METRICS else metric.replace("_", " ")
