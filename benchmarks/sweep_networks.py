"""The networks of `parity_sweep.py`: how each is built, with weights so large that every layer counts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_door import ARCHITECTURES

if TYPE_CHECKING:
    from paring.core.model import Model

Answered = Callable[[Mapping[str, Any]], list[Any]]

_TEXT: Mapping[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99,
    "max_position_embeddings": 66, "pad_token_id": 0,
}  # fmt: skip
_KEYS: Mapping[str, Any] = {**_TEXT, "num_key_value_heads": 2, "head_dim": 8}
_PICTURE: Mapping[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
_SWIN: Mapping[str, Any] = {
    "image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4,
}  # fmt: skip
_FOUR: Mapping[str, Any] = {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]}
_HEADS = {"num_attention_heads": [1, 2, 2, 4]}
_STAGES: Mapping[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
TEXTS: Mapping[str, Mapping[str, Any]] = {
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 99,
                   "max_position_embeddings": 66},
    "bert": _TEXT, "mobilebert": {**_TEXT, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "squeezebert": {**_TEXT, "embedding_size": 32},
    "roberta": _TEXT, "camembert": _TEXT, "xlm-roberta": _TEXT, "roberta-prelayernorm": _TEXT,
    "data2vec-text": _TEXT, "electra": {**_TEXT, "embedding_size": 16}, "albert": {**_TEXT, "embedding_size": 16},
    "mpnet": _TEXT, "convbert": {**_TEXT, "embedding_size": 16}, "deberta": {**_TEXT, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}, "ernie": _TEXT,
    "megatron-bert": _TEXT, "rembert": {**_TEXT, "input_embedding_size": 16},
    "roformer": {**_TEXT, "embedding_size": 32},
    "fnet": _TEXT,
    "funnel": {"vocab_size": 99, "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1],
               "num_decoder_layers": 1},
    "xlnet": {"vocab_size": 99, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "big_bird": {**_TEXT, "attention_type": "original_full"}, "modernbert": {**_TEXT, "local_attention": 8},
    "nomic_bert": _TEXT, "eurobert": _KEYS, "esm": {**_TEXT, "mask_token_id": 98}, "ibert": _TEXT,
    "xmod": {**_TEXT, "languages": ["en_XX"], "default_language": "en_XX"},
    "longformer": {**_TEXT, "attention_window": [8, 8]}, "layoutlm": _TEXT,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99, "n_positions": 66, "pad_token_id": 0},
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 99, "pad_token_id": 0,
                "attention_types": [[["global", "local"], 1]], "window_size": 8, "max_position_embeddings": 66},
    "gpt_neox": _TEXT, "opt": {**_TEXT, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99, "pad_token_id": 0},
    "llama": _KEYS, "mistral": _KEYS, "qwen2": _KEYS, "qwen3": _KEYS, "gemma": _KEYS, "phi": _TEXT, "stablelm": _KEYS,
    "bart": {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
             "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 99,
             "max_position_embeddings": 66},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "vocab_size": 99,
           "decoder_start_token_id": 0},
}  # fmt: skip
IMAGES: Mapping[str, Mapping[str, Any]] = {
    "mobilenet_v1": {"depth_multiplier": 0.25, "image_size": 32}, "mobilenet_v2": {"depth_multiplier": 0.25,
                                                                                   "image_size": 32},
    "resnet": {**_STAGES, "layer_type": "basic"}, "regnet": {**_STAGES, "groups_width": 8},
    "vit": _PICTURE, "deit": _PICTURE, "beit": _PICTURE, "data2vec-vision": _PICTURE, "vit_msn": _PICTURE,
    "dinov2": {**_PICTURE, "mlp_ratio": 2}, "ijepa": _PICTURE,
    "swin": _SWIN, "swinv2": _SWIN,
    "mobilevit": {"image_size": 64, "hidden_sizes": [16, 24, 32], "num_attention_heads": 4,
                  "neck_hidden_sizes": [8, 16, 16, 24, 24, 32, 64]},
    "mobilevitv2": {"image_size": 64, "width_multiplier": 0.25},
    "convnext": _FOUR,
    "convnextv2": _FOUR,
    "efficientnet": {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320},
    "levit": {"image_size": 64, "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1],
              "key_dim": [8, 8, 8]},
    "poolformer": _FOUR,
    "pvt": {**_FOUR, **_HEADS, "image_size": 64}, "pvt_v2": {**_FOUR, **_HEADS, "image_size": 64},
    "segformer": {**_FOUR, **_HEADS},
    "focalnet": {"image_size": 32, "embed_dim": 16, "depths": [1, 1], "hidden_sizes": [16, 32], "focal_levels": [2, 2],
                 "focal_windows": [3, 3]},
    "swiftformer": {"depths": [1, 1, 1, 1], "embed_dims": [16, 16, 32, 32]},
    "bit": {"embedding_size": 8, "hidden_sizes": [32, 64], "depths": [1, 1], "num_groups": 8},
    "hiera": {"image_size": [32, 32], "embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "query_stride": [2, 2],
              "masked_unit_size": [4, 4], "num_query_pool": 1, "embed_dim_multiplier": 2.0},
}  # fmt: skip
# side of Keras's pictures: as small as the architecture takes them
_SIDES = {"InceptionV3": 96, "InceptionResNetV2": 96, "Xception": 96}
ZOO = {
    "mobilenet_v1(width=0.25)": (3, 96, 96), "mobilenet_v1(width=0.5)": (1, 64, 64),
    "mobilenet_v2(width=0.35)": (3, 96, 96), "mobilenet_v2(width=0.5)": (3, 64, 64), "ds_cnn": (1, 49, 10),
    "resnet8": (3, 32, 32), "resnet20": (3, 32, 32), "resnet56": (3, 32, 32), "squeezenet1_1": (3, 96, 96),
}  # fmt: skip
ENTRIES: Mapping[str, tuple[str, ...]] = {
    "keras": ARCHITECTURES, "zoo": tuple(ZOO), "transformers": (*TEXTS, *IMAGES),
}  # fmt: skip


def network(door: str, name: str, folder: Path) -> "tuple[Model, Answered | None]":
    """The model, and what answers in its place: Keras, for a network of Keras."""
    return {"keras": _keras, "zoo": _zoo, "transformers": _transformers}[door](name, folder)


def _keras(name: str, folder: Path) -> "tuple[Model, Answered | None]":
    import numpy as np
    import torch
    from keras_door import randomized

    from paring import load

    side = _SIDES.get(name, 64)
    original = randomized(name, side)
    original.save(folder / "model.keras")

    def theirs(inputs: Mapping[str, Any]) -> list[Any]:
        (images,) = inputs.values()
        with torch.no_grad():
            return [original(np.moveaxis(images, 1, -1), training=False).cpu().numpy()]

    return load.open(f"keras:{folder / 'model.keras'}", shape=(3, side, side)), theirs


def _zoo(name: str, folder: Path) -> "tuple[Model, None]":  # noqa: ARG001
    from paring import load
    from paring.testing.networks import see_data

    model = load.open(f"zoo:{name}", shape=ZOO[name])
    see_data(model.module)
    return model, None


def _transformers(name: str, folder: Path) -> "tuple[Model, None]":  # noqa: ARG001
    import torch

    from paring import load

    text = name in TEXTS
    config = (TEXTS if text else IMAGES)[name]
    length = ", length=16" if text else ""
    side = config.get("image_size", 64)
    side = side if isinstance(side, int) else side[0]
    model = load.open(f"hf:{name}(config={dict(config)}, classes=5{length})", shape=None if text else (3, side, side))
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for path, parameter in model.module.named_parameters():
            norm = parameter.ndim <= 1 and path.endswith("weight")
            scale = 0.1 if parameter.ndim <= 1 else 1.5 * parameter[0].numel() ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=chance) * scale + norm)
    return model, None
