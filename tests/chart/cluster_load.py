"""Runs load.py in a pod of a release's namespace."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.chart.tools import IMAGE, Tool, eventually

_NAME = "load"
_RATE = 40  # requests a second
_STOP = "import os, signal; os.kill(1, signal.SIGTERM)"


class Counts(dict[str, Any]):
    """What load.py counted, once it has ended."""


@contextmanager
def load(kubectl: Tool, gateway: str) -> Iterator[Counts]:
    """Keep the gateway busy during the block, which begins with the first callback; give the counts afterwards."""
    counts = Counts()
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([_script(), pod(_NAME, _RUN, _ENV | {"GATEWAY": gateway})]))
    try:
        eventually(lambda: "begun" in _log(kubectl), 60, "a first callback of the load")
        yield counts
        kubectl("exec", _NAME, "--", "python3", "-c", _STOP)
        phase = eventually(lambda: ended(kubectl, _NAME), 120, "the end of the load")
        said = _log(kubectl)
        assert phase == "Succeeded", said
        counts.update(json.loads(said.splitlines()[-1]))
    finally:
        kubectl("delete", f"pod/{_NAME}", f"configmap/{_NAME}", "--grace-period=1")


def ended(kubectl: Tool, name: str) -> str | None:
    """Return the phase in which the pod has ended, if it has."""
    phase = kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")
    return phase if phase in {"Succeeded", "Failed"} else None


def pod(
    name: str, command: list[str], env: dict[str, str | None], image: str = IMAGE, user: int = 10001
) -> dict[str, Any]:
    """Return a pod that the restricted standard allows; a variable without a value is the pod's address."""
    address = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    variables = [{"name": key, **(address if value is None else {"value": value})} for key, value in env.items()]
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "env": variables,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "script", "mountPath": "/load"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "script", "configMap": {"name": _NAME, "optional": True}}],
        },
    }


_RUN = ["python3", "/load/load.py"]
_ENV: dict[str, str | None] = {"POD_IP": None, "RATE": str(_RATE)}


def _script() -> dict[str, Any]:
    text = Path(__file__).with_name("load.py").read_text()
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _NAME}, "data": {"load.py": text}}


def _log(kubectl: Tool) -> str:
    return kubectl.try_to("logs", _NAME).out
