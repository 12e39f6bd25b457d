"""Exact FLOP of training a transformer, from its shape.

Owns: the formulas; model FLOP and executed FLOP told apart.
May touch: nothing; pure integers.
Called by architecture.six_pd and the importers of training logs.
Explained in docs/architecture-flop.md.

A product of a (m, k) and a (k, n) matrix is 2mkn FLOP, a fused multiply-add as two. Forward, a
sequence of s tokens through one layer of width h (Narayanan et al. 2021, arXiv 2104.04473,
appendix; Hoffmann et al. 2022, arXiv 2203.15556, appendix F):

- projections: 2 x 2 h (a + k) a token, a and k the columns of query and key heads; for a = k = h
  this is 8 h^2;
- attention: 4 a for each pair of tokens, scores and weighted values; s^2 pairs, or s (s + 1) / 2
  where a token sees only what came before;
- feed-forward: 2 x 2 h f a token, 3 x 2 h f when gated; of experts those the token meets, and
  2 h E for the router;
- head: 2 h V a token, once. The embedding is looked up: 0.

Backward costs each product twice: once for its input, once for its weights (attention: for either
factor). A frozen matrix needs no gradient of its weights, so 2 in place of 3; the gradient of the
lowest layer's input is counted although it is not needed (less than 1 / layers too much).

Assumptions: norms, activations, softmax, positions, losses, optimizers and communication are not
counted (element-wise; below 1 % of the FLOP at any width seen); padding tokens are tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from flopmeter_core.architecture.shape import ModelShape
from flopmeter_core.architecture.training import Kernel, Recompute, Training
from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class

TILE_LIKELY, TILE_GREATEST = 128, 256
"""Edge of the tiles of a fused kernel: those of FlashAttention 2 and 3 are 64 to 256 (source text
of both, block sizes by head width). Tiles on the diagonal are computed whole."""


@value_class(frozen=True, slots=True)
class Bounds:
    """Least, likely and greatest FLOP; equal where nothing is open."""

    lower: int
    best: int
    upper: int

    def __mul__(self, factor: int) -> Bounds:
        """Scale."""
        return Bounds(self.lower * factor, self.best * factor, self.upper * factor)


@value_class(frozen=True, slots=True)
class SequenceFlop:
    """FLOP of training on one sequence.

    Attributes:
        forward: model FLOP of the forward pass by part; attention is what the mask leaves.
        forward_square: attention of the forward pass over the whole square.
        model: what training needs: forward and backward, masked pairs and recomputation left out.
        model_square: the same over the whole square, which most frameworks print as MFU.
        executed: what is done, recomputation and masked pairs inside computed tiles included.
    """

    forward: Mapping[str, int]
    forward_square: int
    model: int
    model_square: int
    executed: Bounds

    @property
    def recompute_ratio(self) -> Fraction:
        """Executed over model FLOP, likely."""
        return Fraction(self.executed.best, self.model)


def forward_flop(shape: ModelShape, sequence: int) -> dict[str, int]:
    """Model FLOP of one forward pass over one sequence, by part: also what an evaluation costs."""
    return {
        "projections": 2 * shape.projection_parameters * sequence,
        "attention": _attention(shape, _pairs(shape, sequence)),
        "feed_forward": 2 * shape.dense_mlp_parameters * sequence,
        "experts": 2 * shape.expert_parameters(active=True) * sequence,
        "router": 2 * shape.router_parameters * sequence,
        "head": 2 * shape.head_parameters * sequence,
    }


def evaluation_flop(shape: ModelShape, sequence: int, *, sequences: int) -> int:
    """Model FLOP of evaluating `sequences` sequences: forward passes only."""
    return sum(forward_flop(shape, sequence).values()) * sequences


def train_flop(shape: ModelShape, training: Training) -> SequenceFlop:
    """FLOP of one forward and backward pass over one sequence.

    Raises:
        DataError: adapters on a gate that the model does not have.
    """
    sequence = training.sequence
    targets = training.adapters.targets if training.adapters is not None else ()
    if "gate" in targets and not shape.gated_mlp:
        raise DataError("lora_targets has the gate of a feed-forward layer without gate")
    forward = forward_flop(shape, sequence)
    square = _attention(shape, sequence * sequence)
    matrices = sum(flop for part, flop in forward.items() if part != "attention")
    adapters = _adapter_forward(shape, training)
    if training.adapters is None:
        weighted = 3 * matrices
    else:
        forward["adapters"] = adapters
        weighted = 2 * matrices + 3 * adapters
    attention = forward["attention"]
    again = matrices + adapters - forward["head"] if training.recompute is Recompute.FULL else 0
    least, likely, greatest = _executed_attention(shape, training)
    return SequenceFlop(
        forward=forward,
        forward_square=square,
        model=weighted + 3 * attention,
        model_square=weighted + 3 * square,
        executed=Bounds(
            weighted + again + least, weighted + again + likely, weighted + again + greatest
        ),
    )


def _pairs(shape: ModelShape, sequence: int) -> int:
    """Pairs of tokens that see each other."""
    return sequence * (sequence + 1) // 2 if shape.causal else sequence * sequence


def _attention(shape: ModelShape, pairs: int) -> int:
    """Scores and weighted values of one forward pass."""
    return shape.layers * 4 * shape.attention_width * pairs


def _tiled_pairs(shape: ModelShape, sequence: int, tile: int) -> int:
    """Pairs inside the tiles that a fused kernel computes.

    Tiles at the end of a sequence are taken as cut off there, not as padded.
    """
    if not shape.causal:
        return sequence * sequence
    # Row block i of `tile` rows sees its own columns and all before: at most (i + 1) tiles.
    whole, rest = divmod(sequence, tile)
    pairs = tile * tile * whole * (whole + 1) // 2
    return pairs + rest * sequence


def _executed_attention(shape: ModelShape, training: Training) -> tuple[int, int, int]:
    """Attention as executed over forward, backward and recomputation: least, likely, greatest."""
    sequence = training.sequence
    # Recomputing all of a layer or attention alone repeats its forward pass once.
    passes = 3 if training.recompute is Recompute.NONE else 4
    square = passes * _attention(shape, sequence * sequence)
    # Scores again in the backward pass: one of the two forward products.
    fused = tuple(
        (2 * passes + 1) * _attention(shape, pairs) // 2
        for pairs in (
            _pairs(shape, sequence),
            _tiled_pairs(shape, sequence, TILE_LIKELY),
            _tiled_pairs(shape, sequence, TILE_GREATEST),
        )
    )
    if training.kernel is Kernel.SQUARE:
        return square, square, square
    if training.kernel is Kernel.FUSED:
        return fused[0], fused[1], fused[2]
    # A fused kernel that skips nothing is the most that is known to exist.
    unskipped = (2 * passes + 1) * _attention(shape, sequence * sequence) // 2
    return min(fused[0], square), fused[1], unskipped


def _adapter_forward(shape: ModelShape, training: Training) -> int:
    """Forward FLOP of all adapters over one sequence."""
    adapters = training.adapters
    if adapters is None:
        return 0
    h, attention, kv = shape.width, shape.attention_width, shape.kv_width
    plain, mixed = shape.layers - shape.expert_layers, shape.expert_layers
    experts = shape.experts
    # Inner columns of the feed-forward matrices that a token meets, over all layers, and how many
    # matrices of each kind that is.
    inner = plain * shape.mlp_width
    count = plain
    if experts is not None:
        met = mixed * (experts.active + experts.shared)
        inner += met * experts.width
        count += met
    edges = {
        "query": shape.layers * (h + attention),
        "key": shape.layers * (h + kv),
        "value": shape.layers * (h + kv),
        "output": shape.layers * (h + attention),
        "gate": count * h + inner if shape.gated_mlp else 0,
        "up": count * h + inner,
        "down": count * h + inner,
    }
    total = sum(edges[target] for target in adapters.targets)
    return 2 * adapters.rank * total * training.sequence
