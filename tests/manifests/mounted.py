"""A pod's files and its command line, on this machine."""

from pathlib import Path

from tests.manifests.kustomize import Objects
from tests.manifests.objects import Pod, of_kind


def mount(pod: Pod, objects: Objects, root: Path) -> list[str]:
    """Write what the pod mounts below `root`, and return its arguments with their paths there."""
    (container,) = pod.containers
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
    paths = []
    for mounted in container["volumeMounts"]:
        path = root / mounted["mountPath"].lstrip("/")
        paths.append(mounted["mountPath"])
        source = volumes.get(mounted["name"], {}).get("configMap")
        if source is None:
            path.mkdir(parents=True, exist_ok=True)
        elif key := mounted.get("subPath"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_data(objects, source["name"])[key])
        else:
            path.mkdir(parents=True, exist_ok=True)
            for name, text in _data(objects, source["name"]).items():
                (path / name).write_text(text)
    return [_below(root, argument, paths) for argument in container["args"]]


def _data(objects: Objects, name: str) -> dict[str, str]:
    (found,) = (found for found in of_kind(objects, "ConfigMap") if found["metadata"]["name"] == name)
    data: dict[str, str] = found["data"]
    return data


def _below(root: Path, argument: str, paths: list[str]) -> str:
    option, equals, value = argument.partition("=")
    return f"{option}={root}{value}" if equals and any(value.startswith(path) for path in paths) else argument
