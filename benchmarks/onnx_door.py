"""The ONNX front door: networks exported by PyTorch's two exporters at several opsets, loaded and compared.

For each: the largest difference from the network that was exported, relative to its largest answer (to 1 where that is
less), the layers that techniques act on before and after, and the time to load (read, rebuild, prove against ONNX
Runtime). What does not load is listed with the reason. The newer exporter needs onnxscript.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from table import write
from torch import Tensor, nn

from paring import load
from paring.core.quiet import quiet

OPSETS = {"older": (11, 13, 17, 20), "newer": (18, 20, 23)}  # the lowest and highest that each writes, and some between
COUNTED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm, nn.Embedding)
RUNS = 3
Made = tuple[nn.Module, tuple[Tensor, ...]]


class Logits(nn.Module):
    """A transformers model that takes its inputs in order."""

    def __init__(self, module: nn.Module, *names: str) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """The logits alone."""
        logits: Tensor = self.module(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def zoo(name: str, *shape: int) -> Callable[[], Made]:
    """A network of paring's own, with drawn statistics."""

    def make() -> Made:
        module = load.open(name, shape=shape).module
        for one in module.modules():
            if isinstance(one, nn.BatchNorm2d) and one.running_mean is not None and one.running_var is not None:
                nn.init.uniform_(one.running_mean, -0.2, 0.2)
                nn.init.uniform_(one.running_var, 0.8, 1.2)
        return module, (torch.randn(3, *shape),)

    return make


def hf(kind: str, **config: Any) -> Callable[[], Made]:
    """A network of transformers with drawn weights."""

    def make() -> Made:
        import transformers

        torch.manual_seed(0)
        made = getattr(transformers, f"{kind}Config")(**config)
        if "Bert" in kind:
            module = getattr(transformers, f"{kind}ForSequenceClassification")(made)
            mask = (torch.rand(3, 64) > 0.2).long()
            mask[:, 0] = 1
            ids = torch.randint(0, made.vocab_size, (3, 64))
            return Logits(module, "input_ids", "attention_mask").eval(), (ids, mask)
        module = getattr(transformers, f"{kind}ForImageClassification")(made)
        for one in module.modules():  # weights as small as transformers draws them would leave nothing to compare
            if isinstance(one, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(one.weight)
        size = getattr(made, "image_size", 64)
        return Logits(module, "pixel_values").eval(), (torch.randn(3, 3, size, size),)

    return make


NETWORKS: dict[str, Callable[[], Made]] = {
    "zoo:mobilenet_v1(width=0.25)": zoo("zoo:mobilenet_v1(width=0.25)", 3, 96, 96),
    "zoo:mobilenet_v2": zoo("zoo:mobilenet_v2", 3, 96, 96),
    "zoo:resnet20": zoo("zoo:resnet20", 3, 32, 32),
    "zoo:squeezenet1_1": zoo("zoo:squeezenet1_1", 3, 96, 96),
    "zoo:ds_cnn": zoo("zoo:ds_cnn", 1, 49, 10),
    "DistilBERT, 2 layers": hf("DistilBert", vocab_size=1000, dim=128, n_layers=2, n_heads=4, hidden_dim=512),
    "BERT, 2 layers": hf(
        "Bert", vocab_size=1000, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512
    ),
    "ViT, 2 layers": hf(
        "ViT", image_size=64, patch_size=8, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128,
    ),
    "MobileViT, xx-small": hf(
        "MobileViT", image_size=64, hidden_sizes=[64, 80, 96], neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320]
    ),
    "ConvNeXt, small": hf("ConvNext", hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 2, 1], image_size=64),
    "ResNet-18": hf("ResNet", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic"),
    "SegFormer, b0": hf("Segformer"),
}  # fmt: skip


def export(made: Made, path: Path, exporter: str, opset: int, free: bool) -> None:
    """Writes the file, with a free batch dimension or for one sample."""
    module, inputs = made
    names = [f"in{i}" for i in range(len(inputs))]
    options: dict[str, Any] = {"input_names": names, "opset_version": opset, "dynamo": exporter == "newer"}
    if exporter == "newer":
        options["verbose"] = False
        if free:
            each = tuple({0: torch.export.Dim("batch")} for _ in inputs)
            options["dynamic_shapes"] = (each,) if isinstance(module, Logits) else each
    elif free:
        options |= {"output_names": ["out"], "dynamic_axes": {name: {0: "batch"} for name in [*names, "out"]}}
    with quiet():
        torch.onnx.export(module, inputs if free else tuple(one[:1] for one in inputs), path, **options)


def counted(module: nn.Module) -> str:
    """How many layers there are of each kind."""
    found = Counter(type(one).__name__ for one in module.modules() if isinstance(one, COUNTED))
    return " ".join(f"{kind}={number}" for kind, number in sorted(found.items()))


def measured(made: Made, path: Path) -> dict[str, object]:
    """One file."""
    module, inputs = made
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        model = load.open(f"onnx:{path}")
        taken.append(time.perf_counter() - start)
    with torch.inference_mode():
        wanted, found = module(*inputs), model.module(*inputs)
    apart = float((wanted - found).abs().max() / wanted.abs().max().clamp(min=1))
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    return {
        "largest_difference": f"{apart:.1e}", "largest_answer": f"{wanted.abs().max():.2g}",
        "layers_before": counted(module), "layers_after": counted(model.module),
        "load_s": f"{median(taken):.2f}", "file_MB": f"{size / 1e6:.1f}",
    }  # fmt: skip


def rows() -> Iterator[dict[str, object]]:
    """Every network, exporter, opset, and batch."""
    for name, make in NETWORKS.items():
        made = make()
        for exporter, opsets in OPSETS.items():
            for opset in opsets:
                for free in (True, False) if opset in (17, 18) else (True,):
                    row: dict[str, object] = {
                        "network": name, "exporter": exporter, "opset": opset, "batch": "free" if free else "one",
                        "result": "same answers", "largest_difference": "", "largest_answer": "",
                        "layers_before": "", "layers_after": "", "load_s": "", "file_MB": "",
                    }  # fmt: skip
                    with TemporaryDirectory() as folder:
                        path = Path(folder) / "m.onnx"
                        try:
                            export(made, path, exporter, opset, free)
                        except Exception as error:  # the exporter's own limits
                            reason = next(iter((str(error).strip() or type(error).__name__).splitlines()))
                            yield {**row, "result": f"not exported: {reason[:160]}"}
                            continue
                        try:
                            yield {**row, **measured(made, path)}
                        except Exception as error:  # what fails is listed
                            yield {**row, "result": f"not loaded: {str(error).replace(folder, '')[:300]}"}


def told(row: dict[str, object]) -> dict[str, object]:
    """The row, shown."""
    print(*row.values(), sep=" | ", flush=True)
    return row


def main() -> None:
    """Writes `results/onnx_door.csv`."""
    warnings.simplefilter("ignore")
    write("onnx_door", (told(row) for row in rows()))


if __name__ == "__main__":
    main()
