"""Executors for tests that are about something else."""

from callstream.tasks.executors import Executors
from callstream.tasks.processes import Processes
from callstream.tasks.threads import Threads

EXECUTORS = Executors(Threads(4, 1), Processes(1, 1))
