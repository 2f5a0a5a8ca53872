"""BERT's encoder, and a classifier of texts on top of it.

The encoder is that of Devlin et al. (BERT: Pre-training of Deep Bidirectional Transformers for
Language Understanding, 2019): normalisation after each residual sum, learnt positions, GELU with
the error function. MiniLM (Wang et al. 2020) is a small one, distilled from a larger.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx


@dataclass(frozen=True)
class BertConfig:
    """The sizes of an encoder.

    Attributes:
        vocabulary: How many different ids there are.
        features: The size of a token's state.
        layers: How many layers there are.
        heads: Attention heads of a layer; a divisor of ``features``.
        hidden: The size of the hidden layer between attention and attention.
        positions: The largest number of tokens.
        segments: How many kinds of segment there are; a text of its own is the first.
        epsilon: What the normalisations add to the variance.

    Raises:
        ValueError: The heads do not divide the features.
    """

    vocabulary: int
    features: int
    layers: int
    heads: int
    hidden: int
    positions: int = 512
    segments: int = 2
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        if self.features % self.heads:
            raise ValueError(f"{self.heads} heads do not divide {self.features} features")


#: all-MiniLM-L6-v2, 22.7 million parameters.
MINILM = BertConfig(vocabulary=30522, features=384, layers=6, heads=12, hidden=1536)


class SelfAttention(nnx.Module):
    """Attention of every token to every other that is not padding.

    Args:
        config: The sizes.
        rngs: Random streams for the first weights.
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        size = config.features
        self.heads = config.heads
        self.query = nnx.Linear(size, size, rngs=rngs)
        self.key = nnx.Linear(size, size, rngs=rngs)
        self.value = nnx.Linear(size, size, rngs=rngs)
        self.out = nnx.Linear(size, size, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Lets the tokens look at each other.

        Args:
            x: States, float ``[n, tokens, features]``.
            mask: Which tokens are looked at, bool ``[n, tokens]``.

        Returns:
            What they take from each other, float ``[n, tokens, features]``.
        """
        query, key, value = (
            self._by_head(layer(x)) for layer in (self.query, self.key, self.value)
        )
        # By hand: jax.nn.dot_product_attention takes its scores in float32 even in float64.
        scores = query @ key.swapaxes(-1, -2) / query.shape[-1] ** 0.5
        least = jnp.finfo(scores.dtype).min
        weights = jax.nn.softmax(jnp.where(mask[:, None, None, :], scores, least))
        seen = weights @ value
        return self.out(seen.swapaxes(1, 2).reshape(x.shape))

    def _by_head(self, x: jax.Array) -> jax.Array:
        """``[n, tokens, features]`` as ``[n, heads, tokens, features / heads]``."""
        return x.reshape(*x.shape[:-1], self.heads, -1).swapaxes(1, 2)


class EncoderLayer(nnx.Module):
    """Attention and two dense layers, each with a residual sum and a normalisation behind it.

    Args:
        config: The sizes.
        rngs: Random streams for the first weights.
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        self.attention = SelfAttention(config, rngs=rngs)
        self.attention_norm = layer_norm(config, rngs=rngs)
        self.up = nnx.Linear(config.features, config.hidden, rngs=rngs)
        self.down = nnx.Linear(config.hidden, config.features, rngs=rngs)
        self.norm = layer_norm(config, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """From states to states, float ``[n, tokens, features]``; mask bool ``[n, tokens]``."""
        x = self.attention_norm(x + self.attention(x, mask))
        return self.norm(x + self.down(nnx.gelu(self.up(x), approximate=False)))


def layer_norm(config: BertConfig, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """A LayerNorm that computes the variance from the differences, as the trained one did."""
    return nnx.LayerNorm(
        config.features, epsilon=config.epsilon, use_fast_variance=False, rngs=rngs
    )


class BertEncoder(nnx.Module):
    """The state of each token in its text.

    Args:
        config: The sizes; ``MINILM`` for all-MiniLM-L6-v2.
        rngs: Random streams for the first weights.

    Example:
        >>> config = BertConfig(vocabulary=50, features=8, layers=1, heads=2, hidden=16)
        >>> encoder = BertEncoder(config, rngs=nnx.Rngs(0))
        >>> ids, mask = jnp.array([[3, 7, 1, 0]]), jnp.array([[1, 1, 1, 0]])
        >>> states = nnx.jit(encoder)(ids, mask)
        >>> states.shape, mean_pool(states, mask).shape
        ((1, 4, 8), (1, 8))
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        size = config.features
        self.config = config
        self.words = nnx.Embed(config.vocabulary, size, rngs=rngs)
        self.positions = nnx.Embed(config.positions, size, rngs=rngs)
        self.segments = nnx.Embed(config.segments, size, rngs=rngs)
        self.norm = layer_norm(config, rngs=rngs)
        self.layers = nnx.List([EncoderLayer(config, rngs=rngs) for _ in range(config.layers)])

    def __call__(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Reads texts.

        Args:
            ids: Tokens, integers ``[n, tokens]``.
            mask: 1 or True at tokens, 0 or False at padding, ``[n, tokens]``.

        Returns:
            States, float ``[n, tokens, features]``; those at padding mean nothing.

        Raises:
            ValueError: The texts are longer than there are positions, or the mask has another
                shape.
        """
        return self.encode(self.words(ids), mask)

    def encode(self, embedded: jax.Array, mask: jax.Array) -> jax.Array:
        """Reads texts from the embeddings of their tokens, which ``words(ids)`` gives.

        Args:
            embedded: Float ``[n, tokens, features]``, without positions.
            mask: As above.

        Returns:
            As above.

        Raises:
            ValueError: As above.
        """
        tokens = embedded.shape[1]
        if tokens > self.config.positions:
            raise ValueError(f"{tokens} tokens; this encoder has {self.config.positions} positions")
        if mask.shape != embedded.shape[:2]:
            raise ValueError(f"the mask has shape {mask.shape}; it should be {embedded.shape[:2]}")
        mask = mask.astype(bool)
        positions, segments = self.positions.embedding[...], self.segments.embedding[...]
        x = self.norm(embedded + positions[:tokens] + segments[0])
        for layer in self.layers:
            x = layer(x, mask)
        return x


def mean_pool(states: jax.Array, mask: jax.Array, *, normalise: bool = False) -> jax.Array:
    """The mean over a text's tokens.

    Args:
        states: Float ``[n, tokens, features]``.
        mask: 1 or True at tokens, 0 or False at padding, ``[n, tokens]``; each text has a token.
        normalise: Whether the means are brought to length 1, as for comparing texts.

    Returns:
        Float ``[n, features]``.

    Example:
        >>> mean_pool(jnp.array([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]]]), jnp.array([[1, 1, 0]]))
        Array([[2., 4.]], dtype=float32)
    """
    means = states.mean(1, where=mask.astype(bool)[..., None])
    return means / jnp.linalg.norm(means, axis=-1, keepdims=True) if normalise else means


class BertClassifier(nnx.Module):
    """An encoder, the mean over tokens, and a head.

    Args:
        encoder: The encoder.
        head: From means ``[n, features]`` to logits ``[n, classes]``.

    Example:
        >>> def logits(ids, mask):
        ...     rngs = nnx.Rngs(0)
        ...     encoder, head = BertEncoder(MINILM, rngs=rngs), nnx.Linear(384, 2, rngs=rngs)
        ...     return BertClassifier(encoder, head)(ids, mask)
        >>> ids = mask = jnp.ones((1, 7), jnp.int32)
        >>> nnx.eval_shape(logits, ids, mask).shape  # without the weights of 90 MB
        (1, 2)
    """

    def __init__(self, encoder: BertEncoder, head: nnx.Module):
        self.encoder = encoder
        self.head = head

    def __call__(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Classifies texts.

        Args:
            ids: Tokens, integers ``[n, tokens]``.
            mask: 1 or True at tokens, 0 or False at padding, ``[n, tokens]``.

        Returns:
            Logits, float ``[n, classes]``.
        """
        return self.from_embeddings(self.embed(ids), mask)

    def embed(self, ids: jax.Array) -> jax.Array:
        """The tokens' embeddings without positions, float ``[n, tokens, features]``."""
        return self.encoder.words(ids)

    def from_embeddings(self, embedded: jax.Array, mask: jax.Array) -> jax.Array:
        """The rest of the network: what a gradient is taken of, or a relevance per feature.

        Args:
            embedded: Float ``[n, tokens, features]``, from `embed`.
            mask: As above.

        Returns:
            Logits, float ``[n, classes]``.
        """
        return self.head(mean_pool(self.encoder.encode(embedded, mask), mask))
