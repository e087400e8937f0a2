"""Training rows of the corpora: every variable under random subsets of the others.

Each task draws random rows; one row packs one known part with several questions about it.
"""

from core_model.tasks.chance import ChanceTask
from core_model.tasks.kin import KinTask
from core_model.tasks.names import NamesTask
from core_model.tasks.networks import NetworksTask
from core_model.tasks.places import PlacesTask
from core_model.tasks.safety import SafetyTask
from core_model.tasks.speeches import SpeechesTask
from core_model.tasks.stories import StoriesTask
from core_model.tasks.summaries import SummaryTask
from core_model.tasks.topics import TopicTask

__all__ = [
    "ChanceTask",
    "KinTask",
    "NamesTask",
    "NetworksTask",
    "PlacesTask",
    "SafetyTask",
    "SpeechesTask",
    "StoriesTask",
    "SummaryTask",
    "TopicTask",
]
