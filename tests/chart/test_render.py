"""What the chart makes of its values, without a cluster."""

import runpy
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from json import loads
from pathlib import Path
from typing import Any

import pytest
import yaml

import callstream
from callstream.runtime import egress
from callstream.runtime.settings import Egress, Settings
from cli.settings_table import all_settings
from tests.chart.tools import CHART, GOLDEN, ROOT, VALUES, helm, objects, render

_DEFAULT = CHART.parents[1] / "tests/chart/values/default.yaml"
# Settings that have a value of their own in the chart, and those that are secret.
_OWN = {
    "KAFKA__BOOTSTRAP",
    "TOPICS__PREFIX",
    "TOPICS__PARTITIONS",
    "TOPICS__REPLICATION_FACTOR",
    "GATEWAY__DEADLINE",
    "TASKS__DRAIN",
    "CALLBACKS__DRAIN",
    "EGRESS__ALLOW",
    "CALLBACKS__SECRETS",
    "CALLBACKS__HOST_SECRETS",
}

each_values = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)


@each_values
def test_lint_finds_nothing(values: Path) -> None:
    helm("lint", "--strict", str(CHART), "-f", str(values))


@each_values
def test_a_render_is_as_it_was_read_last(values: Path) -> None:
    assert render(values) == (GOLDEN / values.name).read_text(), "read the changes: python -m tests.chart.renew"


@each_values
def test_objects_are_named_by_the_release(values: Path) -> None:
    named = [(found["kind"], found["metadata"]["name"]) for found in objects(render(values))]
    prefix = "orders" if values.stem == "everything" else "shop-callstream"
    foreign = {name for _, name in named if not name.startswith(prefix)}
    assert not foreign
    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    ("setting", "refusal"),
    [
        ("tasks.replica=2", "replica"),
        ("taks.replicas=2", "taks"),
        ("settings.LOG_FROMAT=json", "LOG_FROMAT"),
        ("settings.KAFKA__BOOTSTRAP=elsewhere:9092", "KAFKA__BOOTSTRAP"),
        ("settings.CALLBACKS__SECRETS=whsec_", "CALLBACKS__SECRETS"),
        ("settings.LOG_FORMAT.nested=json", "LOG_FORMAT"),
        ("kafka.bootstrap=elsewhere", "bootstrap"),
        ("kafka.bundled=perhaps", "bundled"),
        ("tasks.replicas=two", "replicas"),
        ("tasks.drain=20s", "drain"),
        ("gateway.preStop=-1", "preStop"),
        ("gateway.service.type=Anything", "type"),
        ("callbacks.autoscaling.minReplicas=0", "minReplicas"),
        ("topics.partitions=0", "partitions"),
        ("topics.prefix=a b", "prefix"),
        ("image.digest=sha256:short", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("egress.allow[0]=10.1.0.0", "allow"),
        ("egress.allow=10.1.0.0/16", "allow"),
        ("networkPolicy.kafkaPorts[0]=kafka", "kafkaPorts"),
        ("ingress.hosts=orders.example", "hosts"),
        ("extraEnv.NAME=value", "extraEnv"),
        ("resources.limits=1", "resources"),
    ],
)
def test_the_schema_refuses_typos_and_wrong_types(setting: str, refusal: str) -> None:
    done = helm.try_to("template", "shop", str(CHART), "-f", str(_DEFAULT), "--set", setting)
    assert done.code
    assert "values don't meet the specifications of the schema" in done.err
    assert refusal in done.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("kafka.bootstrap=", "kafka.bootstrap is needed"),
        ("kafka.bundled=true", "kafka.bootstrap and kafka.bundled exclude each other"),
        (
            "tasks.autoscaling.enabled=true,tasks.autoscaling.maxReplicas=7",
            "tasks.autoscaling.maxReplicas is 7 and topics.partitions 6",
        ),
        (
            "kafka.bootstrap=,kafka.bundled=true,callbacks.replicas=7",
            "callbacks.replicas is 7 and topics.partitions 6",
        ),
        ("httpRoute.enabled=true", "httpRoute.parentRefs is needed"),
        ("gateway.resources.limits.memory=200Mi", "gateway.resources.limits.memory must be at least 229Mi"),
        ("settings.GATEWAY__BODY_LIMIT=10485760", "gateway.resources.limits.memory must be at least 931Mi"),
        ("gateway.resources.limits.memory=much", "much is no quantity of memory"),
    ],
)
def test_what_does_not_fit_together_is_told(settings: str, message: str) -> None:
    done = helm.try_to("template", "shop", str(CHART), "-f", str(_DEFAULT), "--set", settings)
    assert done.code
    assert message in done.err


@each_values
def test_a_stop_has_more_time_than_it_takes(values: Path) -> None:
    found = objects(render(values))
    settings = next(each["data"] for each in found if each["kind"] == "ConfigMap" and "settings" in _name(each))
    grace = {
        _component(each): each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for each in found
        if each["kind"] == "Deployment"
    }
    pod = _pod_of(found, "gateway")["containers"][0]
    pre_stop = pod.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    flush = 5
    assert grace["gateway"] > pre_stop + int(settings["CALLSTREAM_GATEWAY__DEADLINE"]) + 1 + flush
    margin = 10  # stream_app.service
    assert grace["tasks"] > int(settings["CALLSTREAM_TASKS__DRAIN"]) + margin
    assert grace["callbacks"] > int(settings["CALLSTREAM_CALLBACKS__DRAIN"]) + margin


def test_other_settings_are_other_pods() -> None:
    before, after = (objects(render(_DEFAULT, "--set", f"topics.prefix={prefix}")) for prefix in ("a.", "b."))
    for component in ("gateway", "tasks", "callbacks"):
        sums = [_annotations_of(found, component)["checksum/settings"] for found in (before, after)]
        assert sums[0] != sums[1]


def test_the_job_has_the_settings_that_the_pods_have() -> None:
    values = next(path for path in VALUES if path.stem == "external")
    found = objects(render(values))
    settings = next(each["data"] for each in found if each["kind"] == "ConfigMap")
    job = next(each for each in found if each["kind"] == "Job")
    env = {each["name"]: each["value"] for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env == settings
    assert settings["CALLSTREAM_GATEWAY__BODY_LIMIT"] == "10485760"
    assert settings["CALLSTREAM_TASK_DELAY"] == "0.5"


def test_callback_secrets_reach_callbacks_alone() -> None:
    values = next(path for path in VALUES if path.stem == "external")
    told = {
        _component(each)
        for each in objects(render(values))
        if each["kind"] in {"Deployment", "Job", "Pod"} and "callback-secrets" in yaml.safe_dump(each)
    }
    assert told == {"callbacks"}


def test_the_schema_knows_every_setting() -> None:
    schema = loads((CHART / "values.schema.json").read_text())
    known = set(schema["properties"]["settings"]["properties"])
    every = {each.variable.removeprefix("CALLSTREAM_") for each in all_settings(Settings.model_construct())}
    assert known == every - _OWN


def test_the_schema_and_the_values_name_the_same() -> None:
    schema = loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
    for name, own in schema["properties"].items():
        if own.get("properties") and name != "settings":
            assert set(own["properties"]) == set(values[name])


def test_the_readme_tells_the_values() -> None:
    readme = (CHART / "README.md").read_text()
    assert runpy.run_path(str(ROOT / "helm" / "readme.py"))["written"](readme) == readme, "python helm/readme.py"


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert str(chart["appVersion"]) == callstream.__version__


@pytest.mark.parametrize("component", ["tasks", "callbacks"])
def test_the_network_lets_out_what_the_guard_lets_out(component: str) -> None:
    guard = egress.EgressGuard(Egress())
    policy = _policy(objects(render(_DEFAULT)), component)
    blocks = [peer["ipBlock"] for rule in policy["egress"] for peer in rule.get("to", []) if "ipBlock" in peer]
    for address in _edges():
        try:
            guard.check(str(address), 443)
        except egress.AddressRefusedError:
            allowed = False
        else:
            allowed = True
        assert any(_within(address, block) for block in blocks) == allowed, address


def test_the_gateway_is_let_out_to_kafka_and_dns_alone() -> None:
    rules = _policy(objects(render(_DEFAULT)), "gateway")["egress"]
    assert sorted({port["port"] for rule in rules for port in rule["ports"]}) == [53, 9092]


def _edges() -> list[Any]:
    """Give the first and last address of each network that the guard knows, with their neighbours, and as NAT64."""
    nat64 = int(IPv6Address("64:ff9b::"))
    four = [*egress._SPECIAL_4, IPv4Network("8.8.8.8/32"), IPv4Network("1.0.0.0/8")]
    six = [*egress._SPECIAL_6, egress._UNICAST_6, *egress._FOUR_IN_SIX, *map(IPv6Network, ("fc00::/7", "fe80::/10"))]
    ends = [
        (int(net.network_address), int(net.broadcast_address), net.version, net.max_prefixlen) for net in four + six
    ]
    numbers = {
        (number, version)
        for low, high, version, bits in ends
        for number in (low - 1, low, high, high + 1)
        if 0 <= number < 2**bits
    }
    plain = [ip_address(number) if version == 4 else IPv6Address(number) for number, version in numbers]
    return plain + [IPv6Address(nat64 + number) for number, version in numbers if version == 4]


def _within(address: Any, block: dict[str, Any]) -> bool:
    excepted = any(address in ip_network(network) for network in block.get("except", []))
    return address in ip_network(block["cidr"]) and not excepted


def _name(found: dict[str, Any]) -> str:
    return str(found["metadata"]["name"])


def _component(found: dict[str, Any]) -> str:
    return str(found["metadata"]["labels"]["app.kubernetes.io/component"])


def _deployment(found: list[dict[str, Any]], component: str) -> dict[str, Any]:
    return next(each for each in found if each["kind"] == "Deployment" and _component(each) == component)


def _pod_of(found: list[dict[str, Any]], component: str) -> dict[str, Any]:
    pod: dict[str, Any] = _deployment(found, component)["spec"]["template"]["spec"]
    return pod


def _annotations_of(found: list[dict[str, Any]], component: str) -> dict[str, str]:
    annotations: dict[str, str] = _deployment(found, component)["spec"]["template"]["metadata"]["annotations"]
    return annotations


def _policy(found: list[dict[str, Any]], component: str) -> dict[str, Any]:
    policy = next(each for each in found if each["kind"] == "NetworkPolicy" and _component(each) == component)
    spec: dict[str, Any] = policy["spec"]
    return spec
