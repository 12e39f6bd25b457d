"""Importer of llm-foundry's throughput tables, in Markdown.

Owns: their columns, the shapes of the MPT models they name, and what a row cannot mean.
May touch: nothing; a text in, one training log a row out.
Called by lab.training_log through importers.log_table.

A row names a model by its size; its layers and width are those of llm-foundry's own
configuration (scripts/train/yamls/pretrain and llmfoundry/models/mpt), and NumParams must come
out of them to the last parameter, else the row is refused. MFU and HFU are percent of the dense
peak of the format; `Model TFLOP` is cut to a whole number of 10^12 FLOP/s a device.
No row names the attention kernel, so executed FLOP are bounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from flopmeter.lab.importers.base import LoggedStep, TrainingLog
from flopmeter_core.architecture.conventions import Convention, PrintedRate, Quantity
from flopmeter_core.architecture.parse import Setup
from flopmeter_core.architecture.shape import ModelShape
from flopmeter_core.architecture.training import Kernel, Recompute, Training
from flopmeter_core.errors import DataError

SHAPES: Mapping[str, tuple[int, int, int]] = {
    "125m": (12, 768, 12),
    "350m": (24, 1024, 16),
    "760m": (24, 1536, 12),
    "1b": (24, 2048, 16),
    "3b": (32, 2560, 20),
    "7b": (32, 4096, 32),
    "13b": (40, 5120, 40),
    "30b": (48, 7168, 56),
    "70b": (80, 8192, 64),
}
"""Model -> layers, width, heads."""

VOCABULARY = 50_368
"""GPT-NeoX's 50,277 words, padded; embedding and head are one matrix."""

FORMATS = {"bf16": "bf16", "amp_bf16": "bf16", "amp_fp8": "fp8", "fp8": "fp8", "amp_fp16": "fp16"}

COLUMNS = (
    "Model", "SeqLen (T)", "# GPUs", "GPU", "MFU", "HFU", "Model TFLOP", "MicroBatchSize",
    "GradAccum", "GlobalBatchSize", "Throughput (S/s)", "Throughput (T/s)",
    "Throughput (T/s/GPU)", "GlobalBatchSize (T)", "Precision", "Activation Checkpointing",
    "NumParams",
)  # fmt: skip

_NATURAL = re.compile(r"\d{1,15}", re.ASCII)
_PERCENT = re.compile(r"\d{1,3}(\.\d{1,4})?", re.ASCII)


class ThroughputTableImporter:
    """Reads a document with one or more tables."""

    @property
    def name(self) -> str:
        """The format's name."""
        return "llm-foundry-table"

    def recognises(self, text: str) -> bool:
        """Whether a line of it is the header of such a table."""
        return any(_is_header(_cells(line)) for line in text.splitlines())

    def load(self, text: str, *, name: str, setup: Setup | None) -> tuple[TrainingLog, ...]:
        """Read every row of every table.

        Raises:
            DataError: a row is cut off, contradicts itself, or is of a model nobody knows.
        """
        if setup is not None:
            raise DataError(f"{name} names the model of each row; an architecture would not fit")
        header: tuple[str, ...] = ()
        logs: list[TrainingLog] = []
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.startswith("|"):
                header = ()
                continue
            cells = _cells(line)
            if _is_header(cells):
                header = cells
            elif header and not set("".join(cells)) <= set("- :"):
                place = f"{name} line {number}"
                if len(cells) != len(header) or not line.rstrip().endswith("|"):
                    raise DataError(
                        f"{place} has {len(cells)} cells of {len(header)}; the row is cut off"
                    )
                logs.append(_row(dict(zip(header, cells, strict=True)), place))
        if not logs:
            raise DataError(f"{name} has a table without a row; it is cut off")
        return tuple(logs)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(
        cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")
    )


def _is_header(cells: tuple[str, ...]) -> bool:
    return set(COLUMNS) <= set(cells)


def _row(cells: Mapping[str, str], place: str) -> TrainingLog:
    numbers = {key: _number(cells[key], key, place) for key in COLUMNS if key not in _TEXTS}
    _refuse_contradiction(numbers, place)
    setup = _setup(cells, numbers, place)
    tokens, per_s = numbers["GlobalBatchSize (T)"], numbers["Throughput (T/s)"]
    stated = (
        PrintedRate(
            Quantity.TFLOP_PER_S,
            numbers["Model TFLOP"],
            Convention.LLM_FOUNDRY_MODEL,
            f"{place}, Model TFLOP",
        ),
        PrintedRate(
            Quantity.MFU, numbers["MFU"] / 100, Convention.LLM_FOUNDRY_MODEL, f"{place}, MFU"
        ),
        PrintedRate(
            Quantity.HFU, numbers["HFU"] / 100, Convention.LLM_FOUNDRY_HARDWARE, f"{place}, HFU"
        ),
    )
    name = f"{cells['Model']}-{cells['SeqLen (T)']}-{cells['# GPUs']}x{cells['GPU']}"
    step = LoggedStep(1, 1, int(tokens), tokens / per_s, stated)
    return TrainingLog(name=f"{name}-{cells['Precision']}", setup=setup, steps=(step,))


_TEXTS = ("Model", "GPU", "Precision", "Activation Checkpointing")


def _number(text: str, key: str, place: str) -> Fraction:
    if not (_PERCENT if key in ("MFU", "HFU") else _NATURAL).fullmatch(text):
        raise DataError(f"{place}, column {key}: {text!r} is no number; correct the cell")
    number = Fraction(text)
    # Sequences a second are cut to a whole number: one in two seconds reads 0.
    if not number and key != "Throughput (S/s)":
        raise DataError(f"{place}, column {key}: 0 cannot be")
    return number


def _refuse_contradiction(numbers: Mapping[str, Fraction], place: str) -> None:
    """Products of a row that are printed beside their factors."""
    gpus, length = numbers["# GPUs"], numbers["SeqLen (T)"]
    batch = numbers["GlobalBatchSize"]
    if batch != numbers["MicroBatchSize"] * numbers["GradAccum"] * gpus:
        raise DataError(f"{place}: GlobalBatchSize is not MicroBatchSize x GradAccum x # GPUs")
    if numbers["GlobalBatchSize (T)"] != batch * length:
        raise DataError(f"{place}: GlobalBatchSize (T) is not GlobalBatchSize x SeqLen")
    per_s = numbers["Throughput (T/s)"]
    if not -1 < per_s / gpus - numbers["Throughput (T/s/GPU)"] < 2:
        raise DataError(f"{place}: Throughput (T/s/GPU) is not Throughput (T/s) over # GPUs")
    if not -1 < per_s / length - numbers["Throughput (S/s)"] < 2:
        raise DataError(f"{place}: Throughput (S/s) is not Throughput (T/s) over SeqLen")
    if numbers["MFU"] > numbers["HFU"] or numbers["HFU"] > 100:
        raise DataError(f"{place}: MFU is at most HFU, and HFU at most 100")


def _setup(cells: Mapping[str, str], numbers: Mapping[str, Fraction], place: str) -> Setup:
    known = SHAPES.get(cells["Model"])
    if known is None:
        raise DataError(
            f"{place} names the model {cells['Model']!r}; known are {', '.join(SHAPES)}"
        )
    for key, choices in (("Precision", FORMATS), ("Activation Checkpointing", ("True", "False"))):
        if cells[key] not in choices:
            raise DataError(
                f"{place}, column {key}: {cells[key]!r} is none of {', '.join(choices)}"
            )
    layers, width, heads = known
    sequence = int(numbers["SeqLen (T)"])
    shape = ModelShape(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        mlp_width=4 * width,
        gated_mlp=False,
        vocabulary=VOCABULARY,
        learned_positions=sequence,
        biases=True,
    )
    if shape.parameters() != numbers["NumParams"]:
        raise DataError(
            f"{place}: {cells['Model']} at {sequence} tokens has {shape.parameters()} parameters, "
            f"not {numbers['NumParams']}; its architecture is another"
        )
    recompute = cells["Activation Checkpointing"] == "True"
    return Setup(
        shape=shape,
        training=Training(
            sequence=sequence,
            recompute=Recompute.FULL if recompute else Recompute.NONE,
            kernel=Kernel.UNKNOWN,
        ),
        sequences_per_step=int(numbers["GlobalBatchSize"]),
        devices=int(numbers["# GPUs"]),
        accelerator=cells["GPU"],
        number_format=FORMATS[cells["Precision"]],
        source="llm-foundry's configuration of the named model",
    )
