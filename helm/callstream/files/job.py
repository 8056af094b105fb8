"""`helm test`: submits a task through the gateway's Service and checks the values that come back.

Where the pods' network is not in egress.allow, no callback may reach us; then the dead letter is checked.
"""
# ruff: noqa: INP001, T201 - a script, not a package; it prints its verdict

import json
import os
import queue
import socket
import subprocess
import sys
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Thread
from typing import Any

PORT = 8002
DEADLINE = 60  # seconds until the task must be settled
ITEMS = [
    {"name": "calc_0", "num_1": 123, "num_2": 0.75647, "operation": "+", "result_rounding": 2},
    {"name": "calc_1", "num_1": 785687256, "num_2": 0.75647, "operation": "-", "result_rounding": 4},
]
RESULTS = [{"calc_0": 123.76}, {"calc_1": 785687255.2435}]

address = ip_address(os.environ["POD_IP"])
is_v6 = isinstance(address, IPv6Address)
host = f"[{address}]" if is_v6 else str(address)
calls: queue.Queue[dict[str, Any]] = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        calls.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


class Server(HTTPServer):
    address_family = socket.AF_INET6 if is_v6 else socket.AF_INET


def is_allowed() -> bool:
    networks = [part.strip() for part in os.environ["CALLSTREAM_EGRESS__ALLOW"].split(",") if part.strip()]
    return address.is_global or any(address in ip_network(network) for network in networks)


def submit() -> str:
    gateway = os.environ["GATEWAY"]
    body = json.dumps({"callback_url": f"http://{host}:{PORT}/", "message": ITEMS})
    connection = HTTPConnection(gateway, timeout=20)
    try:
        connection.request("POST", "/v1/calculation/basic", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        sys.exit(f"FAILED: the gateway does not answer at {gateway}: {error!r}")
    if answer.status != HTTPStatus.OK:
        sys.exit(f"FAILED: the gateway answers {answer.status}: {text[:300]}")
    return str(json.loads(text)["task_id"])


def check(result: dict[str, Any], task: str, where: str) -> None:
    if result.get("task_id") != task or result.get("results") != RESULTS or result.get("errors"):
        sys.exit(f"FAILED: {where} of task {task} does not say {RESULTS}: {json.dumps(result)[:500]}")


def dead_letters(*arguments: str) -> str:
    command = ["callstream", "dead-letters", *arguments]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        sys.exit(f"FAILED: {' '.join(command)}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return done.stdout.decode()


def letter_of(task: str) -> dict[str, str] | None:
    letters = map(json.loads, dead_letters("list", "--json", "--since", "10m").splitlines())
    return next((letter for letter in letters if letter["task_id"] == task), None)


def check_delivered(task: str) -> None:
    try:
        call = calls.get(timeout=DEADLINE)
    except queue.Empty:
        letter = letter_of(task)
        why = f"its dead letter says {letter['reason']}: {letter['error']}" if letter else "it is no dead letter either"
        sys.exit(f"FAILED: no callback of task {task} came within {DEADLINE} s; {why}")
    check(call, task, "the callback")
    print(f"PASSED: task {task} was delivered to {address} with the right values")


def check_refused(task: str) -> None:
    until = time.monotonic() + DEADLINE
    while not (letter := letter_of(task)):
        if time.monotonic() > until:
            sys.exit(f"FAILED: task {task} is no dead letter after {DEADLINE} s; see the logs of tasks and callbacks")
    if letter["reason"] != "forbidden":
        sys.exit(f"FAILED: the dead letter of task {task} says {letter['reason']}: {letter['error']}, not forbidden")
    check(json.loads(dead_letters("show", "--raw", letter["place"])), task, "the dead letter")
    if not calls.empty():
        sys.exit(f"FAILED: a callback reached {address}, which egress.allow does not allow")
    print(f"PASSED: task {task} has the right values; its callback to the private address {address} was refused, as it")
    print(
        f"must be, and is a dead letter ({letter['place']}). To see one arrive, add the pods' network to egress.allow."
    )


Thread(target=Server((str(address), PORT), Receiver).serve_forever, daemon=True).start()
(check_delivered if is_allowed() else check_refused)(submit())
