"""Objectives by which relations of one core agree, one a file: formula, law, training rows.

Each is supervised by the core's own answers along another route, so none says anything about the
truth: a recipe weighs them beside the likelihood, and a measure states skill beside agreement.
"""

from core_model.objectives.conditioning import OrderTask
from core_model.objectives.inversion import InversionTask
from core_model.objectives.paraphrase import RetellingTask, WordingTask
from core_model.objectives.presence import PresenceTask
from core_model.objectives.priors import PriorTask
from core_model.objectives.restating import RestatingTask
from core_model.objectives.transitivity import ChainTask

__all__ = [
    "ChainTask",
    "InversionTask",
    "OrderTask",
    "PresenceTask",
    "PriorTask",
    "RestatingTask",
    "RetellingTask",
    "WordingTask",
]
