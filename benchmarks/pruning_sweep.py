"""Pruning tried on small networks of many architectures: right, refused with the reason, or neither.

    python benchmarks/pruning_sweep.py [NETWORK ...] [--limit 120]

Weights and samples are drawn. Each network has a process and a limit of time of its own. What a step acts on is asked;
then `prune.channels` cuts to 0.6 of the MACs, `prune.heads` to half of the heads and of the feed-forward units. A
result is right if the step's own proof held, its answers are finite, it keeps to the budget, and it answers likewise
when it was saved and loaded; and refused if a `ParingError` says why not.
"""

import argparse
import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from table import write

from paring import load
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import ActsOn, Context
from paring.core.target import Limits
from paring.load import saved
from paring.measure import cost
from paring.steps import STEPS, keep_invariants
from paring.testing.transformers import Drawn

EVERY = frozenset({"float32", "int8"})
ACTS = ("prune.channels", "prune.heads", "prune.blocks", "prune.magnitude", "prune.nm", "factorize.svd",
        "factorize.tucker", "factorize.cp", "distill.student")  # fmt: skip
CUTS: Mapping[str, Mapping[str, Any]] = {
    "prune.channels": {"macs": 0.6, "samples": 8, "round_to": 4},
    "prune.heads": {"heads": 0.5, "feed_forward": 0.5},
}
_TEXT = {"vocab_size": 60, "max_position_embeddings": 40, "pad_token_id": 0}
_BERT = {**_TEXT, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_LLAMA = {**_BERT, "num_key_value_heads": 2}
_VIT = {
    "image_size": 16, "patch_size": 4, "num_channels": 1, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
TEXTS: Mapping[str, Mapping[str, Any]] = {
    "bert": _BERT,
    "distilbert": {**_TEXT, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4},
    "albert": {**_BERT, "embedding_size": 16},
    "mpnet": {**_BERT, "pad_token_id": 1},
    "convbert": {**_BERT, "embedding_size": 32, "head_ratio": 2, "conv_kernel_size": 3},
    "deberta": {**_BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False},
    "deberta-v2": {
        **_BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8,
        "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False,
    },
    "modernbert": {
        **_BERT, "global_attn_every_n_layers": 2, "local_attention": 8, "cls_token_id": 1, "sep_token_id": 2,
        "bos_token_id": 1, "eos_token_id": 2,
    },
    "roberta": {**_BERT, "pad_token_id": 1},
    "electra": {**_BERT, "embedding_size": 16},
    "xlnet": {"vocab_size": 60, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "funnel": {"vocab_size": 60, "block_sizes": [1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64},
    "squeezebert": {**_BERT, "embedding_size": 32},
    "mobilebert": {**_BERT, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "fnet": {**_BERT, "use_tpu_fourier_optimizations": False},
    "longformer": {**_BERT, "attention_window": [8, 8], "pad_token_id": 1},
    "gpt2": {"vocab_size": 60, "n_positions": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "pad_token_id": 0},
    "gpt_neox": _BERT,
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "mistral": _LLAMA,
    "gemma": {**_LLAMA, "head_dim": 8},
    "opt": {**_TEXT, "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "word_embed_proj_dim": 32},
    "nystromformer": {**_BERT, "num_landmarks": 4, "segment_means_seq_len": 16},
    "xlm": {"vocab_size": 60, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 40},
    "rembert": {**_BERT, "input_embedding_size": 16, "output_embedding_size": 16},
}  # fmt: skip
IMAGES: Mapping[str, Mapping[str, Any]] = {
    "vit": _VIT,
    "deit": _VIT,
    "beit": {**_VIT, "use_relative_position_bias": True},
    "dinov2": {**_VIT, "mlp_ratio": 2},
    "swin": {
        "image_size": 16, "patch_size": 2, "num_channels": 1, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
        "window_size": 4,
    },
    "swinv2": {
        "image_size": 16, "patch_size": 2, "num_channels": 1, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
        "window_size": 4,
    },
    "pvt": {
        "image_size": 32, "num_channels": 1, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 2, 4], "mlp_ratios": [2, 2, 2, 2],
    },
    "pvt_v2": {
        "image_size": 32, "num_channels": 1, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 2, 4], "mlp_ratios": [2, 2, 2, 2],
    },
    "convnext": {"image_size": 32, "num_channels": 1, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]},
    "convnextv2": {"image_size": 32, "num_channels": 1, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]},
    "mobilevit": {
        "image_size": 32, "num_channels": 1, "hidden_sizes": [16, 16, 16], "num_attention_heads": 2,
        "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16],
    },
    "mobilevitv2": {"image_size": 32, "num_channels": 1, "base_attn_unit_dims": [16, 24, 32], "width_multiplier": 0.25},
    "levit": {
        "image_size": 32, "num_channels": 1, "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 3, 4],
        "depths": [1, 1, 1], "key_dim": [8, 8, 8], "patch_size": 16,
    },
    "resnet": {"image_size": 32, "num_channels": 1, "embedding_size": 8, "hidden_sizes": [16, 16, 32, 32],
               "depths": [1, 1, 1, 1]},
    "regnet": {"image_size": 32, "num_channels": 1, "embedding_size": 8, "hidden_sizes": [16, 16, 32, 32],
               "depths": [1, 1, 1, 1], "groups_width": 8},
    "efficientnet": {"image_size": 32, "num_channels": 1, "width_coefficient": 0.25, "depth_coefficient": 0.25,
                     "hidden_dim": 320},
    "mobilenet_v1": {"image_size": 32, "num_channels": 1, "depth_multiplier": 0.25},
    "mobilenet_v2": {"image_size": 32, "num_channels": 1, "depth_multiplier": 0.25},
    "poolformer": {"image_size": 32, "num_channels": 1, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]},
    "segformer": {
        "image_size": 32, "num_channels": 1, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 2, 4], "mlp_ratios": [2, 2, 2, 2],
    },
    "cvt": {"image_size": 32, "num_channels": 1, "embed_dim": [16, 16, 32], "depth": [1, 1, 1], "num_heads": [1, 2, 4]},
    "focalnet": {"image_size": 32, "patch_size": 2, "num_channels": 1, "embed_dim": 16, "depths": [1, 1],
                 "focal_levels": [2, 2], "focal_windows": [3, 3]},
    "van": {"image_size": 32, "num_channels": 1, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1],
            "mlp_ratios": [2, 2, 2, 2]},
    "bit": {"image_size": 32, "num_channels": 1, "embedding_size": 8, "hidden_sizes": [16, 16, 32, 32],
            "depths": [1, 1, 1, 1], "num_groups": 4},
    "efficientformer": {"image_size": 32, "num_channels": 1, "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 16, 32],
                        "num_meta3d_blocks": 0, "resolution": 1},
    "swiftformer": {"image_size": 32, "num_channels": 1, "depths": [1, 1, 1, 1], "embed_dims": [8, 16, 16, 32]},
    "hiera": {"image_size": [32, 32], "num_channels": 1, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
              "patch_size": [7, 7], "patch_stride": [4, 4], "query_stride": [2, 2], "masked_unit_size": [4, 4],
              "num_query_pool": 1},
    "ijepa": _VIT,
    "vit_msn": _VIT,
    "dinov2_with_registers": {**_VIT, "mlp_ratio": 2},
    "yolos": _VIT,
}  # fmt: skip
ZOO = ("zoo:ds_cnn", "zoo:mobilenet_v1", "zoo:mobilenet_v2", "zoo:resnet8", "zoo:squeezenet")


def opened(name: str) -> Model:
    """A small network."""
    if name.startswith("zoo:"):
        return load.open(name, shape=(3, 64, 64))
    if name in TEXTS:
        return load.open(f"hf:{name}(config={dict(TEXTS[name])}, classes=10, length=16)")
    edge = IMAGES[name]["image_size"]
    edge = edge[0] if isinstance(edge, list) else edge
    return load.open(f"hf:{name}(config={dict(IMAGES[name])}, classes=10)", shape=(1, edge, edge))


def cut(model: Model, step: str) -> str:
    """What came of it."""
    with TemporaryDirectory() as folder:
        found = STEPS.load(step)()
        context = Context(Drawn(model), Limits(EVERY, EVERY), 0, model, Path(folder))
        smaller = found.apply(model, found.Config.model_validate(CUTS[step]), context)
        keep_invariants(smaller)
        inputs = next(iter(context.task.batches("test", 4))).inputs
        answers = smaller(inputs)
        again = saved.load(saved.save(smaller, Path(folder) / "model.safetensors"))(inputs)
        if not all(bool(torch.isfinite(one).all()) for one in answers.values()):
            return "wrong: answers are not finite"
        if not all(torch.equal(one, again[name]) for name, one in answers.items()):
            return "wrong: it answers otherwise when it was loaded"
        if step == "prune.channels" and cost.macs(smaller) > 0.6 * cost.macs(model):
            return "wrong: over the budget"
    return f"right: {smaller.history[-1].changed[:100]}"


def counted(model: Model) -> str:
    """Multiply-accumulates."""
    return f"right: {cost.macs(model)} in {len(cost.per_layer(model))} layers"


def acts(model: Model, step: str) -> str:
    """How many layers a step acts on."""
    one = STEPS.load(step)()
    if not isinstance(one, ActsOn):
        return "right: acts on no single layers"
    found = one.acts_on(model)
    return f"right: {sum(why is None for why in found.values())} of {len(found)} layers"


def tried(name: str, pipe: Any) -> None:
    """Every step, in a process of its own; what is found goes into the pipe."""

    def told(step: str, action: Callable[[], str]) -> None:
        begun = time.perf_counter()
        try:
            result = action()
        except ParingError as error:
            result = f"refused: {error.problem[:160]}"
        except Exception as error:  # what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            result = (
                f"traceback: {type(error).__name__} {str(error)[:160]} ({Path(place.filename).name}:{place.lineno})"
            )
        pipe.send((step, " ".join(result.split()), time.perf_counter() - begun))

    torch.set_num_threads(1)
    models: list[Model] = []

    def load() -> str:
        models.append(replace(opened(name), history=()))
        return "right"

    told("load", load)
    for model in models:
        told("macs", partial(counted, model))
        for step in ACTS:
            told(f"{step}: acts on", partial(acts, model, step))
        for step in CUTS:
            told(step, partial(cut, model, step))


def main() -> None:
    """Tries them, and writes `results/pruning_sweep.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one network")
    given = parser.parse_args()
    torch.set_num_threads(1)
    opened("bert"), opened("vit")  # imports what every network needs
    rows = []
    for name in given.networks or (*TEXTS, *IMAGES, *ZOO):
        receive, send = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=tried, args=(name, send))
        process.start()
        send.close()
        end = time.monotonic() + given.limit
        try:
            while receive.poll(max(0.0, end - time.monotonic())):
                step, told, seconds = receive.recv()
                result, _, detail = told.partition(": ")
                rows.append({"network": name, "step": step, "result": result, "seconds": f"{seconds:.2f}",
                             "told": detail})  # fmt: skip
                if result in ("wrong", "traceback"):
                    print(name, step, told, flush=True)
            rows.append({"network": name, "step": "", "result": "traceback", "seconds": f"{given.limit:.0f}",
                         "told": "did not end"})  # fmt: skip
            print(name, "did not end", flush=True)
        except EOFError:
            pass
        process.kill()
        process.join()
    write("pruning_sweep", rows, keep="network" if given.networks else "")


if __name__ == "__main__":
    main()
