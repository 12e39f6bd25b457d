"""What a transformer is made of, as far as its matrix products need to know.

Owns: the shape of a model with its checks, and its parameters by kind.
May touch: nothing; pure integers.
Called by architecture.count (FLOP), architecture.six_pd and the importers of training logs.
Explained in docs/architecture-flop.md.

Only decoders and encoders built from attention and feed-forward layers are known. Whatever else a
model holds (state-space layers, cross-attention, convolutions) is refused in architecture.parse:
one production FLOP counter in three was wrong because it took such layers for attention
(arXiv 2605.20799).
"""

from __future__ import annotations

from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class

SIZE_MAXIMUM = 1 << 40
"""No size of a model is near this; a larger one is a slip of the keyboard."""


@value_class(frozen=True, slots=True)
class Experts:
    """A mixture of experts in place of the feed-forward layer.

    Attributes:
        count: routed experts of one layer.
        active: how many of them a token meets.
        width: inner width of one expert.
        shared: experts of the same width that every token meets.
        dense_layers: layers that keep the plain feed-forward of `ModelShape.mlp_width`.
    """

    count: int
    active: int
    width: int
    shared: int = 0
    dense_layers: int = 0


@value_class(frozen=True, slots=True)
class ModelShape:
    """A transformer: one stack of layers, embedding below, head above.

    Attributes:
        layers: transformer layers.
        width: of the residual stream (hidden size, h).
        heads: query heads; `kv_heads` key-value heads: fewer with grouped queries, 1 with one.
        head_width: of one head; `heads` x `head_width` may differ from `width`.
        mlp_width: inner width of the feed-forward layer.
        gated_mlp: three matrices (SwiGLU and its kin) in place of two.
        vocabulary: rows of embedding and head as computed, padding included; 0 without a head.
        tied_embedding: whether embedding and head are one matrix.
        learned_positions: rows of a learned position table, 0 without.
        biases: whether matrices and norms carry biases (as GPT-2); counts parameters only.
        causal: whether a token sees only what came before.
        experts: the mixture, or None for a dense model.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    gated_mlp: bool
    vocabulary: int
    tied_embedding: bool = True
    learned_positions: int = 0
    biases: bool = False
    causal: bool = True
    experts: Experts | None = None

    def __post_init__(self) -> None:
        """Refuse what no model can be.

        Raises:
            DataError: a size that is not positive, or sizes that do not go together.
        """
        positive: tuple[str, ...] = ("layers", "width", "heads", "kv_heads", "head_width")
        sizes = {name: getattr(self, name) for name in (*positive, "mlp_width", "vocabulary")}
        sizes["learned_positions"] = self.learned_positions
        if self.experts is not None:
            sizes |= {
                "experts": self.experts.count,
                "active_experts": self.experts.active,
                "expert_width": self.experts.width,
                "shared_experts": self.experts.shared,
                "dense_layers": self.experts.dense_layers,
            }
            positive = (*positive, "experts", "active_experts", "expert_width")
        for name, size in sizes.items():
            least = 1 if name in positive else 0
            if not least <= size < SIZE_MAXIMUM:
                raise DataError(f"{name} = {size} is impossible; it is {least} to {SIZE_MAXIMUM}")
        if self.heads % self.kv_heads:
            raise DataError(
                f"{self.heads} heads cannot share {self.kv_heads} kv_heads evenly; correct one"
            )
        self._check_feed_forward()

    def _check_feed_forward(self) -> None:
        experts = self.experts
        if experts is None:
            if not self.mlp_width:
                raise DataError("mlp_width is 0: a layer without feed-forward is not known here")
            return
        if experts.active > experts.count:
            raise DataError(
                f"a token cannot meet {experts.active} active_experts of {experts.count} experts"
            )
        if experts.dense_layers >= self.layers:
            raise DataError(
                f"dense_layers = {experts.dense_layers} of {self.layers} layers leaves none for "
                "the experts; leave the experts out"
            )
        if experts.dense_layers and not self.mlp_width:
            raise DataError("dense_layers need an mlp_width")

    @property
    def attention_width(self) -> int:
        """Columns of all query heads together."""
        return self.heads * self.head_width

    @property
    def kv_width(self) -> int:
        """Columns of all key heads together; as many again hold the values."""
        return self.kv_heads * self.head_width

    @property
    def mlp_matrices(self) -> int:
        """Matrices of one feed-forward layer or expert."""
        return 3 if self.gated_mlp else 2

    @property
    def expert_layers(self) -> int:
        """Layers that hold experts."""
        return 0 if self.experts is None else self.layers - self.experts.dense_layers

    @property
    def projection_parameters(self) -> int:
        """Of the query, key, value and output matrices of all layers."""
        return self.layers * 2 * self.width * (self.attention_width + self.kv_width)

    @property
    def dense_mlp_parameters(self) -> int:
        """Of the plain feed-forward matrices of all layers that have them."""
        plain = self.layers - self.expert_layers
        return plain * self.mlp_matrices * self.width * self.mlp_width

    @property
    def router_parameters(self) -> int:
        """Of the matrices that choose experts."""
        return 0 if self.experts is None else self.expert_layers * self.width * self.experts.count

    def expert_parameters(self, *, active: bool) -> int:
        """Of the experts' matrices: those one token meets, or all; shared ones are in both."""
        experts = self.experts
        if experts is None:
            return 0
        met = (experts.active if active else experts.count) + experts.shared
        return self.expert_layers * met * self.mlp_matrices * self.width * experts.width

    @property
    def head_parameters(self) -> int:
        """Of the matrix that gives the words' scores."""
        return self.width * self.vocabulary

    def matrix_parameters(self, *, active: bool) -> int:
        """Parameters that multiply a token: projections, feed-forward, router, head."""
        return (
            self.projection_parameters
            + self.dense_mlp_parameters
            + self.router_parameters
            + self.expert_parameters(active=active)
            + self.head_parameters
        )

    @property
    def lookup_parameters(self) -> int:
        """Parameters that are only looked up: an embedding of its own, learned positions."""
        embedding = 0 if self.tied_embedding else self.width * self.vocabulary
        return embedding + self.width * self.learned_positions

    @property
    def vector_parameters(self) -> int:
        """Norms, two a layer and a last one, and biases; they take part in no matrix product.

        A gated layer's or an expert's biases are not counted: no model seen has them.
        """
        norms = (2 * self.layers + 1) * self.width
        if not self.biases:
            return norms
        per_layer = self.attention_width + 2 * self.kv_width + self.width
        per_layer += self.mlp_width + self.width
        return 2 * norms + self.layers * per_layer

    def parameters(self, *, active: bool = False) -> int:
        """All parameters, or those that one token meets."""
        return (
            self.matrix_parameters(active=active) + self.lookup_parameters + self.vector_parameters
        )
