"""A release of the chart on a cluster, and what may be done to its pods."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chart.tools import CHART, IMAGE, Done, Tool, eventually, get, helm

_WAIT = ("--wait", "--timeout", "4m")
_LONG = 280  # seconds for what waits that long by itself


class Release:
    """One release; `values` are given with each install and upgrade."""

    def __init__(self, name: str, kubectl: Tool, namespace: str, values: Mapping[str, str]) -> None:
        self.name = name
        self.gateway = f"{name}-gateway:8000"
        self._helm = helm.with_options("-n", namespace)
        self._kubectl = kubectl
        repository, _, tag = IMAGE.rpartition(":")
        self._values = {
            "fullnameOverride": name,
            "image.repository": repository,
            "image.tag": tag,
            **values,
        }

    def install(self, *options: str, **values: str) -> None:
        self._helm("install", self.name, str(CHART), *_WAIT, *options, *self._set(values), timeout=_LONG)

    def try_to_install(self, **values: str) -> Done:
        return self._helm.try_to("install", self.name, str(CHART), *_WAIT, *self._set(values), timeout=_LONG)

    def upgrade(self, **values: str) -> None:
        done = self.try_to_upgrade(**values)
        assert done.code == 0, done.said

    def try_to_upgrade(self, **values: str) -> Done:
        return self._helm.try_to("upgrade", self.name, str(CHART), *_WAIT, *self._set(values), timeout=_LONG)

    def rollback(self) -> None:
        self._helm("rollback", self.name, *_WAIT, timeout=_LONG)

    def test(self) -> str:
        """Run `helm test` and return what it printed, with the log of its pod."""
        done = self._helm.try_to("test", self.name, "--timeout", "3m", timeout=_LONG)
        assert done.code == 0, done.said
        return done.said

    def uninstall(self) -> None:
        self._helm("uninstall", self.name, "--wait", "--timeout", "2m", timeout=_LONG)

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Return the component's pods that are not on their way out, the oldest first."""
        chosen = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        found = get(self._kubectl, "pods", "-l", chosen)["items"]
        living = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(living, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    def setting(self, variable: str) -> str | None:
        """Return a setting as a process of `tasks` has it."""
        code = f"import os; print(os.environ.get({variable!r}, ''))"
        return self._kubectl("exec", f"deploy/{self.name}-tasks", "-c", "tasks", "--", "python3", "-c", code).strip()

    def create_topics(self, prefix: str) -> None:
        """Create topics of another prefix, on this release's Kafka."""
        code = (
            f"import os; os.environ['CALLSTREAM_TOPICS__PREFIX'] = {prefix!r}; "
            "os.execvp('callstream', ['callstream', 'topics'])"
        )
        self._kubectl("exec", f"deploy/{self.name}-tasks", "-c", "tasks", "--", "python3", "-c", code)

    def await_rollout(self, component: str) -> None:
        self._kubectl("rollout", "status", f"deploy/{self.name}-{component}", "--timeout=120s", timeout=130)

    def force_delete(self, component: str) -> None:
        """Take a pod away at once, as the loss of its node does."""
        name = self.pods(component)[-1]["metadata"]["name"]
        self._kubectl("delete", "pod", name, "--grace-period=0", "--force")
        self.await_rollout(component)

    def sigkill(self, component: str) -> None:
        """Kill a container's process; wait until the kubelet has started the next one."""
        pod = self.pods(component)[0]["metadata"]["name"]
        before = self._container(pod)
        containerd("task", "kill", "--signal", "SIGKILL", before["containerID"].removeprefix("containerd://"))

        def started_again() -> bool:
            now = self._container(pod)
            return bool(now["restartCount"] == before["restartCount"] + 1 and now["ready"])

        eventually(started_again, 60, f"{pod} ready again after a SIGKILL")

    def _container(self, pod: str) -> dict[str, Any]:
        status: dict[str, Any] = get(self._kubectl, "pod", pod)["status"]["containerStatuses"][0]
        return status

    def _set(self, values: Mapping[str, str]) -> list[str]:
        named = {name.replace("__", "."): value for name, value in values.items()}
        return [part for name, value in (self._values | named).items() for part in ("--set", f"{name}={value}")]


# A process of a pod can be killed only from its node, which this machine is where ctr's own variable says so.
containerd = Tool("ctr", "-n", "k8s.io")
can_sigkill = containerd.is_there and Path(os.environ.get("CONTAINERD_ADDRESS", "")).is_socket()
