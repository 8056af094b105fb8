"""What an API server says to each render: every field known, every value valid, every pod allowed by `restricted`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.tools import VALUES, Tool, cannot, objects, render

# Where the definitions of kinds that no cluster has by itself come from: Go module, files in it, their names.
_FOREIGN = {
    "github.com/kedacore/keda/v2@v2.18.1": ("config/crd/bases/keda.sh_scaledobjects.yaml", "scaledobjects.keda.sh"),
    "sigs.k8s.io/gateway-api@v1.4.0": (
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
        "httproutes.gateway.networking.k8s.io",
    ),
}
_go = Tool("go")


@pytest.fixture(scope="module")
def _foreign_kinds(cluster: Tool) -> Iterator[None]:
    """KEDA's and the Gateway API's kinds, for as long as the tests run if the cluster has none."""
    absent = {
        module: where for module, where in _FOREIGN.items() if cluster.try_to("get", "crd", where[1], "-o", "name").code
    }
    if absent and not _go.is_there:
        cannot(
            f"the cluster lacks {', '.join(name for _, name in absent.values())}, and go is not installed to get them"
        )
    for module, (path, _) in absent.items():
        # Server-side: with the other way a definition of this size does not fit into its annotation.
        cluster("apply", "--server-side", "-f", str(_module(module) / path))
    for _, name in absent.values():
        cluster("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
    yield
    for _, name in absent.values():
        cluster("delete", "crd", name, "--timeout=30s")


@pytest.mark.usefixtures("_foreign_kinds")
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_api_server_takes_it(values: Path, cluster: Tool, namespace: str) -> None:
    # Tests of a release go to it one by one: a Pod, unlike a Deployment, is refused and not only warned of.
    manifest = render(values, "--namespace", namespace)
    done = cluster.try_to(
        "apply", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", "-", stdin=_with_own_account(manifest)
    )
    assert done.code == 0, done.said
    assert "Warning" not in done.err
    assert len(done.out.splitlines()) == len(objects(manifest))


def _with_own_account(manifest: str) -> str:
    """Leave pods to the default account and priority: what a dry run does not make is not there for them."""
    found = objects(manifest)
    for each in found:
        if each["kind"] == "Pod":
            spec: dict[str, Any] = each["spec"]
            spec.pop("serviceAccountName")
            spec.pop("priorityClassName", None)
    return yaml.safe_dump_all(found)


def _module(module: str) -> Path:
    return Path(json.loads(_go("mod", "download", "-json", module, timeout=240))["Dir"])
