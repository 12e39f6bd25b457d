"""Architecture-based estimate: 6 x active parameters x tokens.

Owns: the formula and the cases where it is known not to hold.
May touch: nothing; pure function of a row and constants.
Called by desk.reconcile.

Formula: model FLOP = 6 N D (Kaplan et al. 2020): 2 forward and 4 backward per parameter and token.
Assumptions: each active parameter is used once a token. Attention itself is left out (adds
s / 6h of it at full attention, half when causal: 4 to 17 % for published shapes), the embedding is
counted in (takes off up to 10 %); an encoder-decoder uses about half its parameters a token;
distillation needs a teacher's passes too, which are not in it.
It is independent of hours, power and utilisation.
"""

from __future__ import annotations

from flopmeter_core.desk.cells import Span
from flopmeter_core.desk.constants import Written
from flopmeter_core.desk.row import FLOP_PER_PARAMETER_AND_TOKEN, Row

ENCODER_DECODER = "encoder-decoder"
"""Said in a row's notes; no column says it."""


def architecture_flop(row: Row, constants: Written) -> tuple[Span | None, list[str]]:
    """The architecture-based interval in FLOP or None, and what has to be said of it."""
    active, tokens = row.get("params_active"), row.get("tokens")
    if active is None or tokens is None:
        missing = "params_active" if active is None else "tokens"
        said = f"no architecture-based figure: {missing} not stated"
        if active is None and row.get("params_total") is not None:
            said += " (the total would count experts that were not used)"
        return None, [said]
    product = active * tokens * FLOP_PER_PARAMETER_AND_TOKEN
    notes = row.texts["notes"].casefold()
    said_of = []
    factor = constants.architecture
    if ENCODER_DECODER in notes:
        factor = constants.encoder_decoder
        said_of.append("encoder-decoder: a token meets about half the parameters, lower holds that")
    if "distill" in notes:
        said_of.append("distilled: the passes of its teacher are not in 6ND")
    return product * factor, said_of
