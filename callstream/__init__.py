"""REST in, Kafka through, callback out: the library that every process shares."""

from importlib.metadata import version

__version__ = version("callstream")
