"""Settings every test runs under.

Owns: hypothesis' profiles, the form the kernels have in a run of tests, and that no test leaves its
log to the next.
May touch: the environment (FLOPMETER_MUTANTS, FLOPMETER_BUILD, REQUIRE_ALL); other fixtures live
beside the tests that use them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from support.forms import interpret
from support.requirements import nothing_left_out

# A deadline measures the machine, not the code: on two shared cores it fails at random. The blob
# lets anybody repeat the very example that failed.
settings.register_profile("flopmeter", deadline=None, print_blob=True)
settings.load_profile("flopmeter")

# CI says of one commit the same each time. Whoever runs the tests by hand draws others, and finds
# what these do not.
settings.register_profile("ci", settings.get_profile("flopmeter"), derandomize=True)
if nothing_left_out():
    settings.load_profile("ci")

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
def own_log() -> Iterator[None]:
    """Put the log of this process back: a command that a test gives may take it over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
