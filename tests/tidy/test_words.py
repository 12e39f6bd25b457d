"""Identifiers use the project's words: one word for one thing, with its unit.

FLOP are a count and FLOP/s a rate, so a name with "flops" leaves open which; a device is named by
its UUID, so a name like "gpu index" hides that two nodes share it; a length of time is a period,
since an interval is a range of FLOP here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.requirements import ROOT
from support.tree import modules

BANNED = {
    r"(^|_)[kmgtpez]?flops(_|$)": "say flop (a count) or flop_per_s (a rate)",
    r"(^|_)(gpu|card|accelerator)_(id|idx|index|no|number|uuid)(_|$)": "say device, named by UUID",
    r"(^|_)device_(idx|index|no|number)(_|$)": "a device is named by its UUID",
    r"(^|_)interval_(s|ms|us|ns|seconds)$": "a length of time is a period",
    r"^num_|_num$": "say _count",
}
"""Pattern over the snake_case form of an identifier, and what to say instead."""

BARE_FIELDS = {"data", "info", "rate", "time", "value"}
"""Names that say nothing as a field: which quantity, in which unit?"""


def snake_case(name: str) -> str:
    """Return an identifier in lower case with its words parted by underscores."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")


def identifiers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each name the module gives to something, metric names included, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.Constant(value=str(text)) if re.fullmatch(r"flopmeter_[a-z0-9_]+", text):
                yield node.lineno, text


def bare_fields(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each annotated class field whose whole name is one of BARE_FIELDS."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                match item:
                    case ast.AnnAssign(target=ast.Name(id=name)) if name in BARE_FIELDS:
                        yield item.lineno, name


def findings(root: Path) -> list[str]:
    """Name the identifiers under root that use another word or no unit."""
    found = []
    for path in modules(root):
        tree = ast.parse(path.read_text(), filename=str(path))
        place = path.relative_to(root)
        found += [
            f"{place}:{line}: {name}: {advice}"
            for line, name in identifiers(tree)
            for pattern, advice in BANNED.items()
            if re.search(pattern, snake_case(name))
        ]
        found += [
            f"{place}:{line}: field {name}: say of what, and its unit"
            for line, name in bare_fields(tree)
        ]
    return found


def test_tree() -> None:
    """The packages speak in the project's words."""
    assert findings(ROOT) == []


@pytest.mark.parametrize(
    "text",
    [
        "total_flops = 1\n",
        "def peakTflops(): ...\n",
        "PEAK_FLOPS = 1\n",
        "def read(gpu_index): ...\n",
        "class A:\n    def __init__(self):\n        self.device_idx = 0\n",
        "poll_interval_s = 1\n",
        "num_devices = 8\n",
        "name = 'flopmeter_run_flops'\n",
        "class A:\n    value: int\n",
    ],
)
def test_planted(tmp_path: Path, text: str) -> None:
    """Each kind of name is found, once."""
    module = tmp_path / "collector/flopmeter_collector/planted.py"
    module.parent.mkdir(parents=True)
    module.write_text(text)
    assert len(findings(tmp_path)) == 1


def test_good_names(tmp_path: Path) -> None:
    """The project's own words, strings of other projects and names that are only read pass."""
    module = tmp_path / "collector/flopmeter_collector/planted.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "compute_flop_upper = 1\npeak_flop_per_s = 2\ndevice_uuid = 'x'\nreport_period_s = 10\n"
        "device_count = foreign.num_gpus\nlog = 'TFLOPs per GPU'\nfor index in (): ...\n"
        "class A:\n    def f(self, value: int): ...\n"
    )
    assert findings(tmp_path) == []
