"""Settings every test runs under.

Owns: hypothesis' profile.
May touch: nothing else; fixtures live beside the tests that use them.
"""

from __future__ import annotations

from hypothesis import settings

# A deadline measures the machine, not the code: on two shared cores it fails at random. The blob
# lets anybody repeat the very example that failed.
settings.register_profile("flopmeter", deadline=None, print_blob=True)
settings.load_profile("flopmeter")
