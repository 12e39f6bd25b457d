"""The words in which people say what work was, and in which laws say what they count.

Owns: activity, disposition, data visibility, the label that joins them, and the edges of lineage.
May touch: nothing; pure definitions.
Called by the collector's declarations (which give labels), core.lineage (which gives edges) and
core.counting (which maps both to verdicts); docs/counting.md explains each word.
"""

from __future__ import annotations

import enum

from flopmeter_core.values import value_class


class Activity(enum.StrEnum):
    """What a run did, in the classes that laws tell apart."""

    PRETRAINING = "pretraining"
    FINETUNING = "finetuning"
    RL_UPDATE = "rl_update"
    ROLLOUT = "rollout"
    SYNTHETIC_DATA = "synthetic_data"
    EVALUATION = "evaluation"
    TEACHER_TRAINING = "teacher_training"
    AUXILIARY_MODEL = "auxiliary_model"
    PREPROCESSING = "preprocessing"
    DATA_FILTERING = "data_filtering"
    INFERENCE = "inference"
    UNLABELLED = "unlabelled"


class Disposition(enum.StrEnum):
    """What became of the work's result."""

    KEPT = "kept"
    DISCARDED = "discarded"
    FAILED_EXPERIMENT = "failed_experiment"
    ROLLED_BACK = "rolled_back"


class DataVisibility(enum.StrEnum):
    """Whether the data that the work made or used can be had by the public."""

    NON_PUBLIC = "non_public"
    PUBLIC = "public"
    UNKNOWN = "unknown"


class Edge(enum.StrEnum):
    """How a model came from an earlier one."""

    WEIGHTS = "weights"
    MERGE = "merge"
    INIT = "init"
    DISTILLED_FROM = "distilled_from"


@value_class(frozen=True, slots=True, order=True)
class WorkLabel:
    """What is said of a piece of work; the defaults are what holds where nobody said anything."""

    activity: Activity = Activity.UNLABELLED
    disposition: Disposition = Disposition.KEPT
    visibility: DataVisibility = DataVisibility.UNKNOWN

    def __str__(self) -> str:
        """The label in one word group, for sentences."""
        return f"{self.activity} ({self.disposition}, data {self.visibility})".replace("_", " ")


UNLABELLED = WorkLabel()


def every_label() -> tuple[WorkLabel, ...]:
    """All labels there are; a counting profile has a verdict on each."""
    return tuple(WorkLabel(a, d, v) for a in Activity for d in Disposition for v in DataVisibility)
