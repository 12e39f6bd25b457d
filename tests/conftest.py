"""Settings every test runs under.

Owns: hypothesis' profiles, the form the kernels have in a run of tests, and that no test leaves its
log or its interpreter's settings to the next.
May touch: the environment (FLOPMETER_MUTANTS, FLOPMETER_BUILD, REQUIRE_ALL); other fixtures live
beside the tests that use them.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from support.forms import interpret
from support.requirements import nothing_left_out

# A deadline measures the machine, not the code: on two shared cores it fails at random. The blob
# lets anybody repeat the very example that failed. CI says of one commit the same each time, and
# whoever runs the tests by hand draws others. It is said here, for by itself hypothesis goes by
# variables (CI, GITHUB_ACTIONS, ...) that a machine may set for its own ends.
settings.register_profile(
    "flopmeter", deadline=None, print_blob=True, derandomize=nothing_left_out()
)
settings.load_profile("flopmeter")

# Of a mutant only whether an example fails is asked, not which is the smallest one.
settings.register_profile(
    "mutants",
    settings.get_profile("flopmeter"),
    max_examples=40,
    phases=(Phase.explicit, Phase.generate),
    derandomize=True,
)
if os.environ.get("FLOPMETER_MUTANTS") == "1":
    settings.load_profile("mutants")

# What a test starts as a process of its own has the form that is installed.
if os.environ.get("FLOPMETER_BUILD") == "interpreted":
    interpret()


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Put back what a command that a test gives may set for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    thresholds, turn_s = gc.get_threshold(), sys.getswitchinterval()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(turn_s)
