"""A dense layer becomes two thin ones, by a singular value decomposition, and the network is tuned again.

W ≈ U_r Σ_r V_rᵀ: of a layer of 256×256 weights, rank 64 keeps half.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from shared import Outcome, accuracy, batches, dense_network, digits, result, show, weights
from torch import nn
from torch.nn.functional import cross_entropy

RATIO = 0.5


def tune(network: nn.Module, epochs: int, rate: float) -> None:
    """Trains."""
    images, labels = digits("train")
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    for _ in range(epochs):
        for x, y in batches(images, labels, 32):
            optimizer.zero_grad()
            cross_entropy(network(x), y).backward()
            optimizer.step()


def trained() -> nn.Module:
    """What both forms begin with."""
    torch.manual_seed(0)
    network = dense_network()
    tune(network, 8, 0.05)
    return network


def decomposed(layer: nn.Linear, ratio: float) -> nn.Sequential:
    """Two layers with that share of its weights."""
    rank = int(ratio * layer.weight.numel() / (layer.in_features + layer.out_features))
    u, s, v = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    root = s[:rank].sqrt()
    thin = nn.Sequential(nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features))
    with torch.no_grad():
        thin[0].weight.copy_(root[:, None] * v[:rank])
        thin[1].weight.copy_(u[:, :rank] * root)
        thin[1].bias.copy_(layer.bias)
    return thin


def plain_form(network: nn.Module) -> Outcome:
    """Decompose, put two layers in the place of one, tune."""
    test = digits("test")
    before = accuracy(network, *test)
    network.hidden = decomposed(network.hidden, RATIO)
    cut = accuracy(network, *test)
    tune(network, 1, 0.01)
    told = f"rank {network.hidden[0].out_features}: {before:.1f} → {cut:.1f} % before the tuning"
    return Outcome(accuracy(network, *test), weights(network), told)


def paring_form(network: nn.Module, folder: Path) -> Outcome:
    """One step of a recipe."""
    save_file(network.state_dict(), folder / "dense.safetensors")
    recipe = {
        "model": "torch:shared:dense_network",
        "weights": str(folder / "dense.safetensors"),
        "data": "digits",
        "targets": ["litert"],
        "steps": [
            {
                "factorize.svd": {
                    "only": ["hidden"],
                    "ratio": RATIO,
                    "recover": {"epochs": 1, "batch_size": 32, "learning_rate": 0.01},
                }
            }
        ],
    }
    return result(recipe, folder / "run")


def main(folder: Path) -> dict[str, Outcome]:
    """Both forms."""
    return show("A dense layer of low rank", paring=paring_form(trained(), folder), plain=plain_form(trained()))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
