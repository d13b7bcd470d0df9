"""The reference model: all transitions."""

from __future__ import annotations

from .clients import ClientTransitions
from .owners import OwnerTransitions
from .queues import QueueTransitions
from .schedules import ScheduleTransitions
from .upkeep import UpkeepTransitions


class Reference(OwnerTransitions, ScheduleTransitions, UpkeepTransitions, QueueTransitions, ClientTransitions):
    """A store that does what every script is to do."""
