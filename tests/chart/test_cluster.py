"""A release on a real cluster, from install to uninstall. The tests build on each other, in this order."""

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import pytest
import yaml

from tests.chart.cluster_load import Counts, ended, load, pod
from tests.chart.conftest import Say, Timed
from tests.chart.release import Release, can_sigkill
from tests.chart.tools import IMAGE, KAFKA_IMAGE, Tool, cannot, eventually, get

_NO_REQUEST_LOST = {"failed": 0, "lost": 0, "wrong": 0}


@pytest.fixture(scope="module", name="kubectl")
def _kubectl(cluster: Tool, namespace: str) -> Tool:
    return cluster.with_options("-n", namespace)


@pytest.fixture(scope="module")
def pods_network(kubectl: Tool) -> str:
    """The network that pods are in; both images are there."""
    for image, user in ((KAFKA_IMAGE, 1000), (IMAGE, 10001)):
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump(pod("probe", ["true"], {}, image, user)))
        eventually(lambda: ended(kubectl, "probe") or _is_missing(kubectl), 60, f"a pod of {image} has run")
        missing = _is_missing(kubectl)
        address = kubectl("get", "pod", "probe", "-o", "jsonpath={.status.podIP}")
        kubectl("delete", "pod", "probe")
        if missing:
            cannot(f"the cluster's node does not have the image {image}")
    return str(ip_network(f"{address}/{64 if ':' in address else 16}", strict=False))


def _is_missing(kubectl: Tool) -> bool:
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    return "ErrImage" in kubectl("get", "pod", "probe", "-o", reason)


@pytest.fixture(scope="module")
def release(kubectl: Tool, namespace: str, pods_network: str) -> Iterator[Release]:
    assert pods_network
    values = {"kafka.bundled": "true", "kafka.storage.size": "1Gi"}
    made = Release("first", kubectl, namespace, values)
    yield made
    if kubectl.try_to("get", "deploy/first-gateway").code == 0:
        made.uninstall()


def test_it_installs(release: Release, timed: Timed) -> None:
    with timed("helm install --wait, with a Kafka of its own"):
        release.install()
    for component in ("gateway", "tasks", "callbacks"):
        assert len(release.pods(component)) == 2


def test_no_process_was_started_twice(release: Release) -> None:
    for component in ("gateway", "tasks", "callbacks", "kafka"):
        assert [_restarts(each) for each in release.pods(component)] in ([0], [0, 0])


def test_a_job_ends_as_the_guard_says(release: Release, timed: Timed) -> None:
    with timed("helm test, pods' network not allowed"):
        said = release.test()
    assert "PASSED" in said
    assert "was refused" in said


def test_other_partitions_than_there_are_are_refused_before_anything_is_touched(release: Release, timed: Timed) -> None:
    before = [_uid(each) for each in release.pods("tasks")]
    with timed("helm upgrade, refused: the topics have other partitions"):
        done = release.try_to_upgrade(**{"topics.partitions": "3"})
    assert done.code
    assert "calculation.requests has 6 partitions, CALLSTREAM_TOPICS__PARTITIONS wants 3" in done.said
    assert [_uid(each) for each in release.pods("tasks")] == before


def test_an_upgrade_allows_the_pods_network(release: Release, pods_network: str, timed: Timed) -> None:
    with timed("helm upgrade --wait, idle"):
        release.upgrade(**{"egress.allow": f"{{{pods_network}}}"})
    with timed("helm test, pods' network allowed"):
        said = release.test()
    assert "PASSED" in said
    assert "was delivered" in said


def test_killed_pods_lose_nothing(release: Release, kubectl: Tool, timed: Timed, say: Say) -> None:
    with timed("pods of tasks and callbacks killed under load"), load(kubectl, release.gateway) as counts:
        for component in ("tasks", "callbacks"):
            if can_sigkill:
                release.sigkill(component)
            release.force_delete(component)
    if not can_sigkill:
        say("          no SIGKILL: the containers' processes cannot be reached from here")
    _report(say, counts)
    assert counts == counts | _NO_REQUEST_LOST


def test_an_upgrade_under_load_loses_nothing(
    release: Release, kubectl: Tool, pods_network: str, timed: Timed, say: Say
) -> None:
    with load(kubectl, release.gateway) as counts, timed("helm upgrade --wait with another setting, under load"):
        release.upgrade(**{"egress.allow": f"{{{pods_network}}}", "settings.LOG_FORMAT": "json"})
    _report(say, counts)
    assert counts == counts | _NO_REQUEST_LOST
    assert release.setting("CALLSTREAM_LOG_FORMAT") == "json"


def test_a_rollback_under_load_loses_nothing(release: Release, kubectl: Tool, timed: Timed, say: Say) -> None:
    with load(kubectl, release.gateway) as counts, timed("helm rollback --wait, under load"):
        release.rollback()
    _report(say, counts)
    assert counts == counts | _NO_REQUEST_LOST
    assert release.setting("CALLSTREAM_LOG_FORMAT") == ""


def test_two_releases_share_a_kafka(
    release: Release, kubectl: Tool, namespace: str, pods_network: str, timed: Timed
) -> None:
    values = {
        "kafka.bootstrap": f"{release.name}-kafka.{namespace}.svc:9092",
        "topics.prefix": "second.",
        "egress.allow": f"{{{pods_network}}}",
        "gateway.replicas": "1",
        "callbacks.replicas": "1",
    }
    second = Release("second", kubectl, namespace, values)
    with timed("helm install, refused: fewer partitions than replicas"):
        done = second.try_to_install(**{"topics.partitions": "1"})
    assert done.code
    assert "CALLSTREAM_TOPICS__PARTITIONS" in done.said
    second.uninstall()
    with timed("helm install, refused: one copy of each partition"):
        done = second.try_to_install()
    assert done.code
    assert "what is accepted must not be lost with one broker" in done.said
    second.uninstall()
    kubectl("delete", "job", "second-topics")  # it stays for its log, until the next one or by hand
    release.create_topics("second.")
    with timed("helm install --wait of a second release on the same Kafka"):
        second.install("--no-hooks")  # else its Job would refuse the one node that there is
    assert "was delivered" in second.test()
    with timed("helm uninstall --wait of the second"):
        second.uninstall()


def test_an_uninstall_leaves_nothing_but_the_volume(release: Release, kubectl: Tool, timed: Timed) -> None:
    with timed("helm uninstall --wait"):
        release.uninstall()
    kinds = (
        "pods,deployments,replicasets,statefulsets,jobs,services,configmaps,secrets,serviceaccounts,"
        "networkpolicies,poddisruptionbudgets,ingresses,horizontalpodautoscalers,persistentvolumeclaims"
    )

    volume = {("PersistentVolumeClaim", "data-first-kafka-0")}

    def left() -> set[tuple[str, str]]:
        found = get(kubectl, kinds)["items"]
        return {(each["kind"], each["metadata"]["name"]) for each in found} - _OF_EVERY_NAMESPACE

    with timed("until its pods were gone"), suppress(AssertionError):
        eventually(lambda: left() <= volume, 60, "nothing left but the volume")
    assert left() == volume


_OF_EVERY_NAMESPACE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}


def _report(say: Say, counts: Counts) -> None:
    say("          " + ", ".join(f"{name} {value}" for name, value in counts.items()))


def _restarts(pod: dict[str, Any]) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


def _uid(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["uid"])
