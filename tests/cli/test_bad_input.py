"""Every kind of bad input, through the command line: what is wrong, what to do, exit code 2, and nothing is run."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn

from paring.cli import main
from paring.core.quiet import quiet
from paring.testing.networks import tiny_network

TINY = "torch:paring.testing.networks:tiny_network"
WORDS = ["[PAD]", "[UNK]", "good", "bad", "film", "plot"]
Refused = Callable[..., None]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command line, which must end with exit code 2 and a message that holds the parts."""

    def refused(arguments: list[str], *told: str) -> None:
        monkeypatch.setattr(sys, "argv", ["paring", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code == 2, said
        assert f"\n{said}".count("\nerror: ") == 1, said  # notes on the work before may precede it
        assert "try: " in said
        assert all(part in said for part in told), said

    return refused


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound file of every kind."""
    import keras
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    network = tiny_network().eval()
    image = torch.zeros(2, 1, 8, 8)
    batch = torch.export.Dim("batch")
    with quiet():
        torch.export.save(torch.export.export(network, (image,), dynamic_shapes=({0: batch},)), folder / "m.pt2")
        torch.onnx.export(network, (image,), str(folder / "m.onnx"), dynamo=False, dynamic_axes={"x": {0: "n"}})
        model = keras.Sequential([keras.layers.Input((40,)), keras.layers.Dense(30, name="dense")])
        model.save(folder / "m.keras")
        model.save(folder / "m.h5")
    save_file(network.state_dict(), folder / "m.safetensors")
    torch.save(network.state_dict(), folder / "m.pt")
    table = pa.table({"text": ["good film", "bad plot"] * 50, "label": ["y", "n"] * 50})
    pq.write_table(table, folder / "t.parquet", write_page_checksum=True)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of transformers with a text classifier of a few words."""
    folder = tmp_path_factory.mktemp("hf") / "bert"
    with quiet():
        from transformers import AutoConfig, AutoModelForSequenceClassification

        values = {
            "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
            "vocab_size": len(WORDS), "max_position_embeddings": 8,
        }  # fmt: skip
        AutoModelForSequenceClassification.from_config(AutoConfig.for_model("bert", **values)).save_pretrained(folder)
    tokenizer(folder / "tokenizer.json", WORDS)
    return folder


def tokenizer(path: Path, words: list[str]) -> None:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[1]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(path))


def command(path: Path) -> list[str]:
    """What opens the file."""
    if path.suffix in (".safetensors", ".pt"):
        return ["check", TINY, "--shape", "1,8,8", "--weights", str(path)]
    door = {".pt2": "pt2", ".onnx": "onnx"}.get(path.suffix, "keras")
    return ["check", f"{door}:{path}"]


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.onnx", "m.pt2", "m.safetensors", "m.pt"])
def test_a_truncated_model(name: str, whole: Path, tmp_path: Path, refused: Refused) -> None:
    content = (whole / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    refused(command(tmp_path / name), name, "onnx" if name.endswith("onnx") else "damaged")


@pytest.mark.parametrize("name", ["m.keras", "m.pt2"])
def test_an_altered_model(name: str, whole: Path, tmp_path: Path, refused: Refused) -> None:
    """Archives hold checksums; the other kinds do not, see `test_an_altered_header`."""
    content = bytearray((whole / name).read_bytes())
    with zipfile.ZipFile(whole / name) as archive:
        weights = max(archive.infolist(), key=lambda member: member.file_size)
    content[weights.header_offset + 30 + len(weights.filename) + weights.file_size // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    refused(command(tmp_path / name), name)


@pytest.mark.parametrize(("name", "at"), [("m.onnx", 60), ("m.safetensors", 20), ("m.h5", 100)])
def test_an_altered_header(name: str, at: int, whole: Path, tmp_path: Path, refused: Refused) -> None:
    content = bytearray((whole / name).read_bytes())
    content[at : at + 8] = b"\xff" * 8
    (tmp_path / name).write_bytes(content)
    refused(command(tmp_path / name), name)


def test_a_truncated_or_altered_table(whole: Path, bert: Path, tmp_path: Path, refused: Refused) -> None:
    content = (whole / "t.parquet").read_bytes()
    path, at = tmp_path / "t.parquet", content.index(b"good film")
    for changed in (content[: len(content) // 2], content[:-9], content[:at] + b"bad" + content[at + 3 :]):
        path.write_bytes(changed)
        refused(["check", f"hf:{bert}", "--data", f"table:{path}"], "t.parquet", "is damaged")


def test_code_in_a_keras_file_is_named_and_never_run(tmp_path: Path, refused: Refused) -> None:
    import keras

    ran: list[int] = []
    layer = keras.layers.Lambda(lambda x: (ran.append(1), x)[1], output_shape=(4,), name="sly")
    path = tmp_path / "m.keras"
    with quiet():
        keras.Sequential([keras.layers.Input((4,)), layer]).save(path)
    ran.clear()
    refused(["inspect", f"keras:{path}"], "holds code, which paring never runs", "sly")
    assert not ran


def test_a_zip_bomb_and_a_path_that_climbs_out(whole: Path, tmp_path: Path, refused: Refused) -> None:
    for name, content, told in (
        ("assets/bomb", bytes(100 << 20), "a zip bomb"),
        ("../out", b"x", "out of the archive"),
    ):
        path = tmp_path / "m.keras"
        path.write_bytes((whole / "m.keras").read_bytes())
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        refused(["inspect", f"keras:{path}"], told)
    assert not (tmp_path.parent / "out").exists()
    with zipfile.ZipFile(whole / "m.pt2") as old, zipfile.ZipFile(tmp_path / "m.pt2", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    refused(["inspect", f"pt2:{tmp_path / 'm.pt2'}"], "compressed archive")


def test_data_of_an_onnx_file_that_lie_elsewhere(whole: Path, tmp_path: Path, refused: Refused) -> None:
    import onnx

    model = onnx.load(whole / "m.onnx")
    inside = tmp_path / "inside"
    inside.mkdir()
    onnx.save(model, inside / "m.onnx", save_as_external_data=True, location="data", size_threshold=0)
    (inside / "data").rename(tmp_path / "data")
    content = (inside / "m.onnx").read_bytes()
    shown = onnx.load_from_string(content)
    for tensor in shown.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../data" if entry.key == "location" else entry.value
    (inside / "m.onnx").write_bytes(shown.SerializeToString())
    refused(["inspect", f"onnx:{inside / 'm.onnx'}"], "../data")


def test_a_pickle_that_needs_code(tmp_path: Path, refused: Refused) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "m.pt")
    refused(command(tmp_path / "m.pt"), "needs code to be read", "state_dict")


def test_a_wrong_tokenizer(bert: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "good film,y\nbad plot,n\n" * 50)
    table = f"table:{tmp_path / 't.csv'}"
    tokenizer(tmp_path / "large.json", [*WORDS, *(f"word{i}" for i in range(9))])
    refused(["check", f"hf:{bert}", "--data", f"{table}(tokenizer={str(tmp_path / 'large.json')!r})"], "token")
    (tmp_path / "broken.json").write_text('{"version": "1.0"')
    refused(["check", f"hf:{bert}", "--data", f"{table}(tokenizer={str(tmp_path / 'broken.json')!r})"], "broken.json")
    refused(["check", TINY, "--data", table], "tokenizer")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("text,lable\ngood film,y\n", "'lable'"),
        ("text,label\n", "no rows"),
        ("", "is empty"),
        ("text,label\ngood film,y\n,n\n", "row 2 has no text"),
    ],
)
def test_a_table_without_what_it_needs(content: str, told: str, bert: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "t.csv").write_text(content)
    refused(["check", f"hf:{bert}", "--data", f"table:{tmp_path / 't.csv'}"], "t.csv", told)


def test_texts_longer_than_the_limit(
    bert: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than the model takes is an error; what is cut is counted, and told."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "t.csv").write_text("text,label\n" + "good good film,y\nbad plot,n\n" * 50)
    table = f"table:{tmp_path / 't.csv'}"
    refused(["check", f"hf:{bert}", "--data", f"{table}(length=9)"], "takes 8 tokens")
    (tmp_path / "r.yaml").write_text(
        f'version: 1\nmodel: hf:{bert}\ndata: "{table}(length=2)"\ntargets: [litert]\nmeasure: {{stages: ends}}\n'
    )
    monkeypatch.setattr(sys, "argv", ["paring", "compress", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = "50 of 100 texts were longer than 2 tokens and were cut."
    assert told in " ".join(capsys.readouterr().out.split())
    assert told in (tmp_path / "run" / "report.json").read_text()
    assert told in (tmp_path / "run" / "report.html").read_text()


_TRAIN = "recover: {steps: 4, batch_size: 16}"


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("prune.magnitude: {sparsity: 1.5}", ["recipe.yaml, line", "less than 1"]),
        ("prune.magnitude: {sparsity: 0.999, scope: layer}", ["no weight of stem.0, body.0, body.3 would be left"]),
        ("prune.magnitude: {sparsity: 0.5, layers: [steem]}", ["no layer is called 'steem'", "did you mean 'stem'?"]),
        ("prune.magnitude: {sparsity: 0.5, keep: ['@lienar']}", ["'@lienar'", "did you mean '@linear'?"]),
        (
            "prune.magnitude: {sparsity: 0.5, polynomial: {begin: 4, end: 2}, " + _TRAIN + "}",
            ["ends at step 2, before its begin at step 4"],
        ),
        ("prune.magnitude: {sparsity: 0.5, polynomial: {end: 5}, " + _TRAIN + "}", ["to step 5, the training has 4"]),
        ("prune.nm: {n: 4, m: 2}", ["n=4 of m=2", "n below m"]),
        ("prune.nm: {m: 7}", ["no layer is left to prune", "no multiple of 7"]),
        ("prune.movement: {sparsity: 0.5, " + _TRAIN.replace("steps", "stepps") + "}", ["stepps", "did you mean"]),
        ("factorize.svd: {rank: 4, energy: 0.9}", ["exactly one of", "energy and rank"]),
        ("factorize.svd: {rank: 64}", ["no layer is worth taking apart", "rank 64 is over the"]),
        ("factorize.svd: {rank: 2, only: [steem]}", ["no layer is called 'steem'", "did you mean 'stem'?"]),
        ("factorize.svd: {macs: 0.01, round_to: 1}", ["the lowest ranks come to", "times as much"]),
        ("factorize.tucker: {rank: [2, 2, 2]}", ["rank", "valid integer"]),
        ("factorize.cp: {ratio: 0.5}", ["no layer is worth taking apart", "its kernel is a single place"]),
        ("prune.rigl: {sparsity: 0.5, frequency: 3, " + _TRAIN + "}", ["first exchange would come after 3 steps"]),
    ],
)
def test_a_smaller_network_that_cannot_be(
    step: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.chdir(tmp_path)
    data = "python:paring.testing.models:TinyTask"
    Path("recipe.yaml").write_text(f"version: 1\nmodel: {TINY}\ndata: {data}\nsteps:\n  - {step}\n")
    refused(["compress", "recipe.yaml"], *told)
    assert not list(Path("runs").glob("**/*01-*/*"))
