import pytest


@pytest.fixture
def tokenizer() -> str:
    """A tokenizer of a few words, as the text of its `tokenizer.json`."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[UNK]", "good", "bad", "film", "plot", "very", "the"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[1]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made.to_str()
