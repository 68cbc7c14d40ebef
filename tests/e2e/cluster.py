"""The cluster that KUBECONFIG names, by kubectl, and a load that runs inside it, as clients do."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMESPACE = "vitrine"
LOAD_NAMESPACE = "vitrine-load"
SERVICE = "http://vitrine.vitrine.svc"


def kubectl(*arguments: str, given: str | None = None) -> str:
    """What kubectl prints. Raises `RuntimeError` with what it complains of."""
    result = subprocess.run(
        ["kubectl", *arguments], input=given, capture_output=True, text=True, check=False, timeout=1200
    )
    if result.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def get(kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """One object."""
    return json.loads(kubectl("get", kind, name, "--namespace", namespace, "--output=json"))  # type: ignore[no-any-return]


def running_pods() -> list[str]:
    """Names of the service's pods that are ready and not about to go."""
    pods = json.loads(kubectl("get", "pods", "-n", NAMESPACE, "-lapp.kubernetes.io/name=vitrine", "-ojson"))
    return [
        pod["metadata"]["name"]
        for pod in pods["items"]
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    ]


def wait_until(what: str, condition: Callable[[], bool], seconds: float) -> None:
    """Raises `TimeoutError` if it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s still not so: {what}")
        time.sleep(5)


class Load:
    """A job that loads the service through its Service, in a namespace of its own."""

    def __init__(self, name: str, seconds: float, connections: int) -> None:
        self.name = name
        self.seconds = seconds
        image = get("deployment", "vitrine")["spec"]["template"]["spec"]["containers"][0]["image"]
        kubectl("apply", "-f-", given=json.dumps(_objects(name, image, seconds, connections)))

    def wait(self) -> dict[str, Any]:
        """The account (`tests.e2e.load.Account`), once the load has ended."""
        timeout = f"--timeout={self.seconds + 300:.0f}s"
        kubectl("wait", "--for=condition=complete", f"job/{self.name}", "-n", LOAD_NAMESPACE, timeout)
        account: dict[str, Any] = json.loads(kubectl("logs", f"job/{self.name}", "-n", LOAD_NAMESPACE))
        print(f"\n{self.name}: {account}")
        return account


def _objects(name: str, image: str, seconds: float, connections: int) -> dict[str, Any]:
    """The namespace, the program as a ConfigMap, and the job, in the service's own image: it has Python."""
    metadata = {"name": name, "namespace": LOAD_NAMESPACE}
    container = {
        "name": "load",
        "image": image,
        "command": ["python", "/load/load.py", SERVICE, str(seconds), str(connections)],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
        # Little, so that the load takes no room from what the autoscaler adds
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "load", "configMap": {"name": name}}],
    }
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    program = Path(__file__).with_name("load.py").read_text()
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": LOAD_NAMESPACE, "labels": restricted},
            },
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"load.py": program}},
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": metadata,
                "spec": {"backoffLimit": 0, "template": {"spec": pod}},
            },
        ],
    }
