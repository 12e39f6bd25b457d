"""An architecture as a TOML file says it.

Owns: the keys of such a file and what each may hold.
May touch: nothing; a text in, shape and training out.
Called by lab.training_log. docs/architecture-flop.md lists the keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from flopmeter_core.architecture.conventions import Convention, PrintedRate, Quantity
from flopmeter_core.architecture.shape import Experts, ModelShape
from flopmeter_core.architecture.training import Adapters, Kernel, Recompute, Training
from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class

_FIGURE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)

KNOWN_KINDS = ("decoder", "encoder")

REFUSED_KINDS: Mapping[str, str] = {
    "encoder-decoder": "a token meets one of two stacks, and cross-attention joins them",
    "state-space": "its layers scan a state and have no attention",
    "hybrid": "its layers are of several kinds and need a count each",
    "recurrent": "its layers carry a state in place of attention",
    "linear-attention": "its attention does not grow with the square of the sequence",
    "latent-attention": "its keys and values are products of smaller matrices (MLA)",
    "sliding-window": "its attention sees a window, not all that came before",
    "diffusion": "its passes a sample depend on the sampler and the image",
    "convolution": "its products depend on the image",
}
"""Kinds that are not counted, each with what a transformer's formula would get wrong."""

MODEL_KEYS = (
    "kind", "layers", "width", "heads", "kv_heads", "head_width", "mlp_width", "gated_mlp",
    "vocabulary", "tied_embedding", "learned_positions", "biases", "experts", "active_experts",
    "expert_width", "shared_experts", "dense_layers",
)  # fmt: skip
TRAINING_KEYS = ("sequence", "recompute", "attention_kernel", "lora_rank", "lora_targets")
RUN_KEYS = ("sequences_per_step", "devices", "accelerator", "number_format", "source")
STATED_KEYS = ("quantity", "figure", "convention", "place")


@value_class(frozen=True, slots=True)
class Setup:
    """A training as a file describes it.

    Attributes:
        shape, training: what counts FLOP.
        sequences_per_step: the global batch, or 0 where the file leaves it to a log.
        devices: accelerators, or 0 where the file leaves it to a log.
        accelerator, number_format: as written; empty where not said.
        source: where the file's figures are from.
        stated: rates of the whole run that its source prints outside the log.
    """

    shape: ModelShape
    training: Training
    sequences_per_step: int
    devices: int
    accelerator: str
    number_format: str
    source: str
    stated: tuple[PrintedRate, ...] = ()


def parse_setup(text: str, *, name: str) -> Setup:
    """Read an architecture file.

    Args:
        text: TOML with the tables ``model``, ``training`` and ``run``.
        name: of the file, for errors.

    Raises:
        DataError: not TOML, an unknown key or kind, a value of the wrong type, a size missing,
            or sizes that cannot be.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{name} is not valid TOML: {error}") from error
    _refuse_unknown(tables, ("model", "training", "run", "stated"), name)
    model = _table(tables, "model", MODEL_KEYS, name)
    training = _table(tables, "training", TRAINING_KEYS, name)
    run = _table(tables, "run", RUN_KEYS, name)
    try:
        return Setup(
            shape=_shape(model),
            training=_training(training),
            sequences_per_step=_natural(run, "sequences_per_step", 0),
            devices=_natural(run, "devices", 0),
            accelerator=_text(run, "accelerator", ""),
            number_format=_text(run, "number_format", ""),
            source=_text(run, "source", ""),
            stated=_stated(tables.get("stated", []), name),
        )
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _table(
    tables: Mapping[str, Any], key: str, known: Iterable[str], name: str
) -> Mapping[str, Any]:
    table = tables.get(key, {})
    if not isinstance(table, dict):
        raise DataError(f"{name}: {key} is no table; write [{key}]")
    _refuse_unknown(table, known, f"{name} [{key}]")
    return table


def _refuse_unknown(table: Mapping[str, Any], known: Iterable[str], name: str) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            raise DataError(f"{name} has the unknown key {key!r}; known are {', '.join(known)}")


def _shape(model: Mapping[str, Any]) -> ModelShape:
    kind = _text(model, "kind", "decoder")
    if kind not in KNOWN_KINDS:
        why = REFUSED_KINDS.get(kind, "nobody has written its formula down here")
        raise DataError(
            f"kind {kind!r} is not counted: {why}; use measured figures, or one of "
            f"{', '.join(KNOWN_KINDS)} where it is one"
        )
    width, heads = _natural(model, "width"), _natural(model, "heads")
    if "head_width" not in model and heads and width % heads:
        raise DataError(
            f"{heads} heads do not divide the width {width}; state head_width if that is meant"
        )
    return ModelShape(
        layers=_natural(model, "layers"),
        width=width,
        heads=heads,
        kv_heads=_natural(model, "kv_heads", heads),
        head_width=_natural(model, "head_width", width // max(heads, 1)),
        mlp_width=_natural(model, "mlp_width", 0),
        gated_mlp=_switch(model, "gated_mlp", default=False),
        vocabulary=_natural(model, "vocabulary"),
        tied_embedding=_switch(model, "tied_embedding", default=True),
        learned_positions=_natural(model, "learned_positions", 0),
        biases=_switch(model, "biases", default=False),
        causal=kind == "decoder",
        experts=_experts(model),
    )


def _experts(model: Mapping[str, Any]) -> Experts | None:
    if "experts" not in model:
        extra = {"active_experts", "expert_width", "shared_experts", "dense_layers"} & set(model)
        if extra:
            raise DataError(f"{', '.join(sorted(extra))} without experts; state experts as well")
        return None
    return Experts(
        count=_natural(model, "experts"),
        active=_natural(model, "active_experts"),
        width=_natural(model, "expert_width"),
        shared=_natural(model, "shared_experts", 0),
        dense_layers=_natural(model, "dense_layers", 0),
    )


def _training(table: Mapping[str, Any]) -> Training:
    adapters = None
    if "lora_rank" in table or "lora_targets" in table:
        targets = table.get("lora_targets", [])
        if not isinstance(targets, list) or not all(isinstance(t, str) for t in targets):
            raise DataError("lora_targets is a list of texts, such as ['query', 'value']")
        adapters = Adapters(rank=_natural(table, "lora_rank"), targets=tuple(targets))
    return Training(
        sequence=_natural(table, "sequence"),
        recompute=Recompute(_one_of(table, "recompute", Recompute, Recompute.NONE)),
        kernel=Kernel(_one_of(table, "attention_kernel", Kernel, Kernel.UNKNOWN)),
        adapters=adapters,
    )


def _stated(rows: Any, name: str) -> tuple[PrintedRate, ...]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError("stated is no list of tables; write [[stated]]")
    found = []
    for row in rows:
        _refuse_unknown(row, STATED_KEYS, f"{name} [[stated]]")
        text = _text(row, "figure", "")
        # The figure is a text, so that its digits are those printed.
        if not _FIGURE.fullmatch(text):
            raise DataError(f"figure = {text!r} is no number such as '149.02'; put it in quotes")
        quantity = Quantity(_one_of(row, "quantity", Quantity, ""))
        convention = Convention(_one_of(row, "convention", Convention, ""))
        place = _text(row, "place", "")
        found.append(PrintedRate(quantity, Fraction(text), convention, place))
    return tuple(found)


def _one_of(table: Mapping[str, Any], key: str, known: Iterable[str], default: str) -> str:
    text = _text(table, key, default)
    if text not in tuple(known):
        raise DataError(f"{key} = {text!r} is none of {', '.join(known)}")
    return text


def _natural(table: Mapping[str, Any], key: str, default: int | None = None) -> int:
    number = table.get(key, default)
    if number is None:
        raise DataError(f"{key} is missing; a count cannot be made without it")
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise DataError(f"{key} = {number!r} is no whole number of 0 or more")
    return number


def _switch(table: Mapping[str, Any], key: str, *, default: bool) -> bool:
    choice = table.get(key, default)
    if not isinstance(choice, bool):
        raise DataError(f"{key} = {choice!r} is neither true nor false")
    return choice


def _text(table: Mapping[str, Any], key: str, default: str) -> str:
    text = table.get(key, default)
    if not isinstance(text, str):
        raise DataError(f"{key} = {text!r} is no text; put it in quotes")
    return text
