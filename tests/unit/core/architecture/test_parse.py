"""An architecture file says one thing, or is refused in one sentence."""

from __future__ import annotations

from fractions import Fraction

import pytest

from flopmeter_core.architecture.conventions import Convention, Quantity
from flopmeter_core.architecture.parse import (
    MODEL_KEYS,
    REFUSED_KINDS,
    RUN_KEYS,
    STATED_KEYS,
    TRAINING_KEYS,
    parse_setup,
)
from flopmeter_core.architecture.shape import Experts
from flopmeter_core.architecture.training import Kernel, Recompute
from flopmeter_core.errors import DataError
from support.documents import document, sections

MODEL = "layers = 2\nwidth = 8\nheads = 4\nvocabulary = 10\nmlp_width = 32\n"
TRAINING = "sequence = 16\n"


def _file(model: str = MODEL, training: str = TRAINING, rest: str = "") -> str:
    return f"[model]\n{model}\n[training]\n{training}\n{rest}"


def test_everything_said() -> None:
    """Each key lands where it belongs."""
    setup = parse_setup(
        _file(
            MODEL + "kind = 'encoder'\nkv_heads = 2\nhead_width = 3\ngated_mlp = true\n"
            "tied_embedding = false\nlearned_positions = 16\nexperts = 8\nactive_experts = 2\n"
            "expert_width = 5\nshared_experts = 1\ndense_layers = 1\nbiases = true\n",
            TRAINING + "recompute = 'full'\nattention_kernel = 'fused'\nlora_rank = 4\n"
            "lora_targets = ['query', 'value']\n",
            "[run]\nsequences_per_step = 7\ndevices = 8\naccelerator = 'H100'\n"
            "number_format = 'bf16'\nsource = 'a paper'\n"
            "[[stated]]\nquantity = 'mfu'\nfigure = '0.412'\nconvention = 'palm'\nplace = 'p'\n",
        ),
        name="a.toml",
    )
    shape, training = setup.shape, setup.training
    assert (shape.kv_heads, shape.head_width, shape.gated_mlp, shape.causal) == (2, 3, True, False)
    assert shape.experts == Experts(8, 2, 5, shared=1, dense_layers=1)
    assert (training.recompute, training.kernel) == (Recompute.FULL, Kernel.FUSED)
    assert training.adapters is not None and training.adapters.targets == ("query", "value")
    assert (setup.sequences_per_step, setup.devices, setup.source) == (7, 8, "a paper")
    (stated,) = setup.stated
    assert (stated.quantity, stated.figure) == (Quantity.MFU, Fraction(412, 1000))
    assert stated.convention is Convention.PALM


def test_what_is_not_said() -> None:
    """Heads take the width evenly, nothing is recomputed, the kernel stays unknown."""
    setup = parse_setup(_file(), name="a.toml")
    assert (setup.shape.head_width, setup.shape.kv_heads) == (2, 4)
    assert setup.shape.causal and setup.shape.experts is None
    assert setup.training.recompute is Recompute.NONE
    assert setup.training.kernel is Kernel.UNKNOWN
    assert (setup.devices, setup.accelerator, setup.stated) == (0, "", ())


@pytest.mark.parametrize("kind", [*REFUSED_KINDS, "mystery"])
def test_other_layers_are_refused(kind: str) -> None:
    """What is no stack of attention and feed-forward layers has no formula here."""
    with pytest.raises(DataError, match=f"kind '{kind}' is not counted: .+; use measured figures"):
        parse_setup(_file(MODEL + f"kind = '{kind}'\n"), name="a.toml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[model", "not valid TOML"),
        ("model = 3", "model is no table"),
        (_file(MODEL.replace("layers = 2", "")), "layers is missing"),
        (_file(MODEL.replace("= 2", "= -2")), "layers = -2 is no whole number"),
        (_file(MODEL.replace("= 2", "= 2.5")), "layers = 2.5 is no whole number"),
        (_file(MODEL.replace("= 2", "= true")), "layers = True is no whole number"),
        (_file(MODEL.replace("heads = 4", "heads = 3")), "3 heads do not divide the width 8"),
        (_file(MODEL.replace("heads = 4", "heads = 0")), "heads = 0 is impossible"),
        (_file(MODEL + "gated_mlp = 1"), "neither true nor false"),
        (_file(MODEL + "kind = 7"), "is no text"),
        (_file(MODEL + "colour = 1"), "unknown key 'colour'"),
        (_file(MODEL + "active_experts = 2"), "active_experts without experts"),
        (_file(MODEL + "experts = 2"), "active_experts is missing"),
        (_file(training=""), "sequence is missing"),
        (_file(training=TRAINING + "recompute = 'some'"), "none of none, selective, full"),
        (_file(training=TRAINING + "lora_targets = ['query']"), "lora_rank is missing"),
        (_file(training=TRAINING + "lora_rank = 2\nlora_targets = 'query'"), "list of texts"),
        (_file(training=TRAINING + "lora_rank = 2"), "at least one"),
        (_file(rest="[other]\nx = 1"), "unknown key 'other'"),
        ("stated = 3\n" + _file(), "no list of tables"),
        (_file(rest="[[stated]]\nquantity = 'mfu'\nfigure = '-1'"), "'-1' is no number"),
        (_file(rest="[[stated]]\nquantity = 'x'\nfigure = '1'"), "none of tflop_per_s, mfu, hfu"),
        (_file(rest="[[stated]]\nquantity = 'mfu'\nfigure = '1'"), "convention = ''"),
        (_file(rest="[[stated]]\nunit = 'mfu'"), "unknown key 'unit'"),
    ],
)
def test_bad_files(text: str, sentence: str) -> None:
    """Missing, negative, mistyped and unknown entries are named, and the file with them."""
    with pytest.raises(DataError, match=sentence) as caught:
        parse_setup(text, name="a.toml")
    assert str(caught.value).startswith("a.toml")


def test_keys_are_documented() -> None:
    """docs/architecture-flop.md lists each key under its table, and no other."""
    rows = sections(document("architecture-flop.md"))["The architecture file"].rows()
    told = {(row[0], key) for row in rows for key in row[1].split(", ")}
    known = {"model": MODEL_KEYS, "training": TRAINING_KEYS, "run": RUN_KEYS, "stated": STATED_KEYS}
    assert told == {(table, key) for table, keys in known.items() for key in keys}
