"""A tiny BERT with a tokenizer of a few words, and a table of sentences that it can learn."""

from pathlib import Path

from paring.core.quiet import quiet

WORDS = ("[PAD]", "[UNK]", "good", "bad", "film", "plot", "very", "the")


def bert_and_table(folder: Path, **values: int) -> tuple[Path, Path]:
    """A folder of transformers, with `values` in its configuration, and a table of 160 rows, both made in `folder`."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    with quiet():
        from transformers import AutoConfig, AutoModelForSequenceClassification

        sizes = {
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": len(WORDS), "max_position_embeddings": 16, **values,
        }  # fmt: skip
        config = AutoConfig.for_model("bert", **sizes)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "bert")
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token=WORDS[1]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "bert" / "tokenizer.json"))
    rows = ["the very good film,yes" if i % 2 else "the bad plot,no" for i in range(160)]
    (folder / "table.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return folder / "bert", folder / "table.csv"
