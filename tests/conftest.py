"""Settings every test runs under.

Owns: hypothesis' profiles, and the form the kernels have in a run of tests.
May touch: the environment (FLOPMETER_MUTANTS, FLOPMETER_BUILD); fixtures live beside the tests that
use them.
"""

from __future__ import annotations

import os

from hypothesis import Phase, settings

from support.forms import interpret

# A deadline measures the machine, not the code: on two shared cores it fails at random. The blob
# lets anybody repeat the very example that failed.
settings.register_profile("flopmeter", deadline=None, print_blob=True)
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
