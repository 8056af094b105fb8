"""A whole Callstream on free ports, from the broker to the example receiver."""

import base64
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.processes import Process, running
from demo.screen import Screen

_TASK_DELAY = 2  # seconds: long enough to see that the answer does not wait for the result


@dataclass(frozen=True)
class Installation:
    bootstrap: str
    gateway_url: str
    receiver_url: str
    processes: dict[str, Process]

    def check(self, step: str) -> None:
        """Raise a StepError of `step` if a process has ended."""
        for process in self.processes.values():
            process.check(step)

    def log(self, name: str) -> Path:
        return self.processes[name].log


@asynccontextmanager
async def installed(directory: Path, screen: Screen, program: str) -> AsyncIterator[Installation]:
    """Start everything, each `callstream` command by `program`; it all ends with the block, the broker last."""
    broker, gateway, receiver = _free_ports(3)
    bootstrap = f"127.0.0.1:{broker}"
    env = _environment(bootstrap)
    async with AsyncExitStack() as stack:

        async def start(name: str, *command: str) -> Process:
            return await stack.enter_async_context(
                running(name, *command, env=env, directory=directory, program=program)
            )

        processes = {
            "broker": await start("broker", "broker", "embedded", "--port", str(broker)),
            "receiver": await start("receiver", "receiver", "--port", str(receiver)),
            "gateway": await start("gateway", "gateway", "--port", str(gateway)),
            "tasks": await start("tasks", "tasks"),
            "callbacks": await start("callbacks", "callbacks"),
        }
        topics = await start("topics", "topics", "--wait", "30")
        await processes["broker"].wait_until_ready()
        screen.ready("broker", f"Kafka's protocol on {bootstrap}")
        await topics.wait_until_done()
        screen.ready("topics", "created")
        what = {
            "receiver": f"POST http://127.0.0.1:{receiver}/test-me shows what it gets",
            "gateway": f"REST on http://127.0.0.1:{gateway}",
            "tasks": "requests -> results",
            "callbacks": "results -> callbacks",
        }
        for name, text in what.items():
            await processes[name].wait_until_ready()
            screen.ready(name, text)
        yield Installation(bootstrap, f"http://127.0.0.1:{gateway}", f"http://127.0.0.1:{receiver}", processes)


def _environment(bootstrap: str) -> dict[str, str]:
    """Return our environment with the settings of the demo, and with no others."""
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("CALLSTREAM_")}
    return inherited | {
        "CALLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
        "CALLSTREAM_KAFKA__IDEMPOTENT": "false",
        "CALLSTREAM_KAFKA__SESSION_TIMEOUT": "6",
        "CALLSTREAM_TASK_DELAY": str(_TASK_DELAY),
        "CALLSTREAM_EGRESS__ALLOW": "127.0.0.0/8",
        "CALLSTREAM_CALLBACKS__SECRETS": secret,
        "RECEIVER_SECRETS": secret,
    }


def _free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports
