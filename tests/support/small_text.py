"""Small things that read texts: a tokenizer, an encoder and a classifier one can reckon by hand."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from lrpjax import models
from lrpjax.models import minilm

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PIECES = ("a", "good", "bad", "film", "un", "##like", "##ly", "very", "dull", "fine", ".", "<", ">")
VOCABULARY = {piece: index for index, piece in enumerate((*SPECIAL, *PIECES))}
CONFIG = minilm.BertConfig(
    vocabulary=len(VOCABULARY), features=12, layers=2, heads=3, hidden=20, positions=24
)
LABELS = ("negative", "positive", "neither")


def tokenizer(longest=16):
    """Word pieces of a tiny vocabulary."""
    import tokenizers
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    made = tokenizers.Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    ends = [(piece, VOCABULARY[piece]) for piece in ("[CLS]", "[SEP]")]
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    made.enable_padding(length=9)  # as the published file has it, too; it must be undone
    return minilm.WordPieces(made.to_str(), longest)


def encoder(seed=0):
    """An encoder whose arrays all are random, scales and biases too; float32."""
    model = nnx.eval_shape(lambda: minilm.BertEncoder(CONFIG, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(seed)
    draw = lambda path, leaf: jnp.asarray(rng.normal(size=leaf.shape) * _spread(path, leaf), "f4")
    flat = {path: draw(path, leaf) for path, leaf in nnx.to_flat_state(nnx.state(model))}
    nnx.update(model, nnx.from_flat_state(flat))
    return model


def _spread(path, leaf):
    """Standard deviations; words count more than what the layers do, which eases learning."""
    kinds = {"kernel": 1 / np.sqrt(leaf.shape[0]), "embedding": 1.0, "scale": 1.0, "bias": 0.3}
    return 3.0 if path[0] == "words" else kinds[path[-1]]


class Bag(nnx.Module):
    """A linear classifier of the mean embedding, which relevance is easily reckoned of."""

    def __init__(self, seed=0):
        self.words = nnx.Embed(len(VOCABULARY), 4, rngs=nnx.Rngs(seed))
        self.head = nnx.Linear(4, len(LABELS), use_bias=False, rngs=nnx.Rngs(seed + 1))

    def __call__(self, ids, mask):
        return self.head(minilm.mean_pool(self.words(ids), mask))

    def shares(self, ids, epsilon=1e-6):
        """Each token's relevance for each logit by the ε-rule, and the logits.

        For a text without padding: [tokens, classes] and [classes].
        """
        rows = np.asarray(self.words.embedding[...], np.float64)[ids] / len(ids)
        matrix = np.asarray(self.head.kernel[...], np.float64)
        means = rows.sum(0)
        logits = means @ matrix
        stable = lambda z: z + epsilon * np.where(z >= 0, 1, -1)
        of_means = means[:, None] * matrix * logits / stable(logits)
        return rows @ (of_means / stable(means)[:, None]), logits


def classifier(model=None, longest=16):
    """The bag, or another network, with its tokenizer and labels."""
    return models.TextClassifier("small", model or Bag(), LABELS, tokenizer(longest))
