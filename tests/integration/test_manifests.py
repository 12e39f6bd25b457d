"""The Kubernetes manifest gives the agent what allocations need, and nothing more."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from flopmeter.cli import main
from flopmeter_agent.allocations.kubernetes import KUBELET_SOCKET
from flopmeter_agent.config import AgentConfig
from flopmeter_proto.daemon.settings import ENVIRONMENT_PREFIX, fields_of
from support.requirements import ROOT

MANIFEST = ROOT / "deploy/kubernetes/agent.yaml"

HOST_PATHS = {
    "/var/lib/flopmeter": False,
    str(KUBELET_SOCKET.parent): True,
    "/run/flopmeter": False,
}
"""What of the host the agent sees, and whether only to read."""


def pod() -> dict[str, Any]:
    """The pod of the manifest."""
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    assert (manifest["kind"], manifest["apiVersion"]) == ("DaemonSet", "apps/v1")
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return found


def findings(spec: dict[str, Any]) -> list[str]:
    """What the pod has beyond its need, or lacks."""
    (container,) = spec["containers"]
    security = container["securityContext"]
    found = []
    expected = {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    found += [
        f"{key}: {security.get(key)}" for key in expected if security.get(key) != expected[key]
    ]
    found += [f"{key} is not needed" for key in security.keys() - expected.keys()]
    allowed = {"hostPID", "automountServiceAccountToken", "nodeSelector", "tolerations"}
    found += [f"{key} is not needed" for key in spec.keys() - allowed - {"containers", "volumes"}]
    if spec.get("automountServiceAccountToken") is not False:
        found.append("it needs no token")
    volumes = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
    mounts = {
        volumes[m["name"]]: m.get("readOnly", False)
        for m in container["volumeMounts"]
        if m["name"] in volumes
    }
    if mounts != HOST_PATHS:
        found.append(f"paths of the host: {mounts}")
    return found


def test_no_more_than_needed() -> None:
    """User 0 for the kubelet's socket, the host's process numbers, three paths: that is all."""
    assert findings(pod()) == []


@pytest.mark.parametrize("planted", ["privileged", "hostNetwork", "capability", "path"])
def test_planted_excess(planted: str) -> None:
    """Whatever is given beyond that is named."""
    spec = copy.deepcopy(pod())
    (container,) = spec["containers"]
    if planted == "privileged":
        container["securityContext"]["privileged"] = True
    elif planted == "hostNetwork":
        spec["hostNetwork"] = True
    elif planted == "capability":
        container["securityContext"]["capabilities"]["add"] = ["SYS_ADMIN"]
    else:
        spec["volumes"][-1]["hostPath"]["path"] = "/"
    assert len(findings(spec)) == 1


def test_settings_exist() -> None:
    """What the pod is told are settings of the agent, with values it takes."""
    (container,) = pod()["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    known = {field.variable for field in fields_of(AgentConfig)}
    ours = {name for name in variables if name.startswith(ENVIRONMENT_PREFIX)}
    assert ours <= known and "FLOPMETER_ALLOCATIONS" in ours
    AgentConfig(allocations=tuple(str(variables["FLOPMETER_ALLOCATIONS"]).split(",")))
    assert main([*container["args"], "--help"]) == 0
