"""Apache Kafka without Docker: the jars by Maven, one KRaft node on loopback, for tests and benchmarks."""

import asyncio
import os
import shutil
import socket
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from cli.children import run_to_end
from cli.errors import CommandError

_HERE = Path(__file__).parent
_POM = _HERE / "pom.xml"


async def kafka_command(port: int, data: Path) -> list[str]:
    """Return the command that runs a node on `port` with its data in `data`, all prepared.

    Raises:
        CommandError: Java or Maven is missing, or a preparation failed.
    """
    java = _tool("java", "a Java runtime, 17 or newer (Debian: default-jre-headless)")
    jars = await _jars()
    properties = data / "server.properties"
    logs = data / "logs"
    await asyncio.to_thread(_write_properties, properties, port, logs)
    classpath = f"{jars}/*"
    if not (logs / "meta.properties").exists():
        storage_tool = (java, "-cp", classpath, _log4j(), "kafka.tools.StorageTool")
        await run_to_end(*storage_tool, "format", "-t", _new_cluster_id(), "-c", str(properties), quiet=True)
    # Out of memory, Java would go on in pieces, and what does not end is not started again.
    return [java, "-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "-cp", classpath, _log4j(), "kafka.Kafka", str(properties)]


async def _jars() -> Path:
    """Return the directory of Kafka's jars; the first call fills it, through Maven."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "callstream"
    # Named by the pom's content: another version, of Kafka or of a library, is another directory.
    jars = cache / f"kafka-{sha256(_POM.read_bytes()).hexdigest()[:12]}"
    if jars.is_dir():
        return jars
    maven = _tool("mvn", "Maven (Debian: maven)")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as download:
        target = Path(download) / "jars"
        quietly = ("-q", "-B", "-Dstyle.color=never")
        await run_to_end(
            maven, *quietly, "-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={target}"
        )
        try:
            target.rename(jars)
        except OSError:
            if not jars.is_dir():  # else another start was faster, with the same jars
                raise
    return jars


def _write_properties(path: Path, port: int, logs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        controller = free.getsockname()[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    settings: Mapping[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        # Static voters: the controller's port may be another one at the next start with the same data.
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": logs,
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,  # tests kill members, and each is waited for as long
        # After a kill, a restart waits for as long as the node that was killed may still be there.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
    }
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def _tool(name: str, what: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise CommandError(f"{name} is not there: install {what}, or use `callstream broker embedded`")
    return path


def _log4j() -> str:
    return f"-Dlog4j2.configurationFile={_HERE / 'log4j2.xml'}"


def _new_cluster_id() -> str:
    """Return a UUID in Kafka's base64 form; `A` in front, for a leading dash would read as an option."""
    return "A" + urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")[1:]
