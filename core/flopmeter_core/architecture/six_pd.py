"""C = 6 P D, and the cases where it may not stand in for a count.

Owns: the formula and its assumptions, each checked and each with its sentence.
May touch: nothing; pure functions.
Called by whoever is handed P and D.
Explained in docs/architecture-flop.md.

Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1, table 1; the EU guidelines for
general-purpose AI models, annex A.2.2, allow it for "some dense large language models". Kaplan's
condition is width >> context / 12, because attention then adds little. Footnote 13 of the annex
has the number of parameters in place of the width; every model above a thousand parameters or so
would pass that, so the share of attention itself is held to a bound here.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.architecture.count import forward_flop
from flopmeter_core.architecture.shape import ModelShape
from flopmeter_core.architecture.training import Recompute, Training
from flopmeter_core.errors import DataError

NEGLIGIBLE = Fraction(5, 100)
"""A share of the FLOP that 6PD may leave out or add: a sixth of the annex's margin of 30 %."""


def six_pd(parameters: int, tokens: int) -> int:
    """6PD in FLOP: 2 forward and 4 backward for each parameter and token.

    Args:
        parameters: all of a dense model, 1 or more.
        tokens: seen in training, repetitions counted, 1 or more.

    Raises:
        DataError: not positive.
    """
    if parameters < 1 or tokens < 1:
        raise DataError("6PD needs parameters and tokens, each 1 or more")
    return 6 * parameters * tokens


def objections(shape: ModelShape, training: Training) -> tuple[str, ...]:
    """Why 6PD does not hold for this training; empty where it does.

    Recomputation is none of them: 6PD is model FLOP. What was executed is not 6PD then.
    """
    said = []
    forward = forward_flop(shape, training.sequence)
    total = shape.parameters()
    active = shape.parameters(active=True)
    if active < total:
        said.append(
            f"mixture of experts: a token meets {active} of {total} parameters, so 6PD with all of "
            f"them is {float(Fraction(total, active)):.2f} times too high"
        )
    if training.adapters is not None:
        said.append(
            "frozen base (LoRA): no gradient of the frozen weights is computed, so 4PD and the "
            "adapters, not 6PD"
        )
    share = Fraction(forward["attention"], sum(forward.values()))
    if share > NEGLIGIBLE:
        said.append(
            f"long context for this width: attention over {training.sequence} tokens is "
            f"{float(share):.2%} of the FLOP, above {float(NEGLIGIBLE):.0%}, and not in 6PD (width "
            f"{shape.width}, context / 12 = {training.sequence / 12:.0f})"
        )
    idle = shape.lookup_parameters
    if Fraction(idle, total) > NEGLIGIBLE:
        said.append(
            f"{float(Fraction(idle, total)):.1%} of the parameters are only looked up (embedding, "
            "positions) and multiply nothing"
        )
    return tuple(said)


def six_pd_of(shape: ModelShape, training: Training, *, tokens: int) -> int:
    """6PD of a model, where it holds.

    Raises:
        DataError: it does not; the sentence says which assumptions fail.
    """
    said = objections(shape, training)
    if said:
        raise DataError("6PD does not hold here, count by architecture instead: " + "; ".join(said))
    return six_pd(shape.parameters(), tokens)


def executed_note(training: Training) -> str:
    """What to say of 6PD against executed FLOP; empty where there is nothing to say."""
    if training.recompute is Recompute.NONE:
        return ""
    return f"6PD leaves out the {training.recompute} recomputation that was executed"
