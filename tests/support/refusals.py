"""What a refusal says, word for word.

Owns: nothing.
May touch: nothing.
Called by tests that hold a sentence of an error against the whole of what a user reads.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flopmeter_core.errors import FlopmeterError


def said(
    call: Callable[..., object],
    *arguments: object,
    error: type[FlopmeterError],
    **named: object,
) -> str:
    """The sentence a call refuses with; the error is of this very family.

    Args:
        call: what refuses.
        arguments: its arguments, in order.
        error: the family.
        named: its arguments by name.
    """
    with pytest.raises(error) as refused:
        call(*arguments, **named)
    assert type(refused.value) is error
    return str(refused.value)
