"""Every deployment file says what the product understands: Ray's launcher, Kubernetes, compose, the configuration."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from engine.config import parse
from engine.store.redis_link import ServerFacts, trouble_of

TOP = Path(__file__).resolve().parents[2]
DEPLOY = TOP / "deploy"
PUBLIC = {"/healthz", "/readyz"}
"""What the door tells without a key (docs/http-api.md)."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


def version() -> str:
    return str(tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"])


# ---- ray-cluster.yaml


def test_rays_launcher_takes_the_cluster_file() -> None:
    """The way of `ray up`: its defaults are filled in, then all is held against Ray's own schema."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    made = prepare_config(yaml.safe_load((TOP / "ray-cluster.yaml").read_text()))
    validate_config(made)
    types = made["available_node_types"]
    assert made["head_node_type"] in types
    assert types["sender"]["resources"]["CPU"] == 4
    assert sum(one.get("min_workers", 0) for one in types.values()) <= made["max_workers"]
    assert any("veredus up" in line for line in made["head_start_ray_commands"])
    assert not any("veredus up" in line for line in made["worker_start_ray_commands"])


def test_rays_schema_refuses_a_mistake() -> None:
    from jsonschema import ValidationError  # type: ignore[import-untyped]
    from ray.autoscaler._private.util import prepare_config, validate_config

    made = prepare_config(yaml.safe_load((TOP / "ray-cluster.yaml").read_text()))
    with pytest.raises(ValidationError):
        validate_config(made | {"max_workers": "many"})


def test_the_cluster_file_installs_this_release() -> None:
    config = yaml.safe_load((TOP / "ray-cluster.yaml").read_text())
    assert any(f"veredus=={version()}" in line for line in config["setup_commands"])


# ---- Kubernetes


def test_kustomization_names_files_that_are_there() -> None:
    (made,) = documents(DEPLOY / "kuberay/kustomization.yaml")
    for name in made["resources"]:
        beside = DEPLOY / "kuberay" / name
        assert beside.exists() or beside.with_suffix(".example.yaml").exists(), name
    for generated in made["configMapGenerator"]:
        for name in generated["files"]:
            assert (DEPLOY / "kuberay" / name).exists(), name
    assert [one["newTag"] for one in made["images"]] == [version()]


def test_the_ray_cluster_of_kuberay_is_whole() -> None:
    import ray

    (made,) = documents(DEPLOY / "kuberay/raycluster.yaml")
    assert (made["apiVersion"], made["kind"]) == ("ray.io/v1", "RayCluster")
    spec = made["spec"]
    assert spec["rayVersion"] == ray.__version__
    assert spec["enableInTreeAutoscaling"] is True
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    pods = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    around = documents(DEPLOY / "kuberay/around.yaml")
    secrets = documents(DEPLOY / "kuberay/secrets.example.yaml")
    named = {(one["kind"], one["metadata"]["name"]) for one in (*around, *secrets)}
    named.add(("ConfigMap", "veredus-config"))
    for pod in (one["template"]["spec"] for one in pods):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["image"] == f"veredus:{version()}"
            assert set(container["resources"]) == {"requests", "limits"}
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
            ports = {port["name"] for port in container.get("ports", [])}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind, {}).get("httpGet")
                assert probe is None or (probe["port"] in ports and probe["path"] in PUBLIC)
        for volume in volumes.values():
            assert _claimed(volume) in named
    selected = {label for one in around for label in _labels(one.get("spec", {}))}
    worn = {label for one in pods for label in one["template"]["metadata"]["labels"].items()}
    assert selected <= worn, "every selector finds a pod"


def _claimed(volume: dict[str, Any]) -> tuple[str, str]:
    if "persistentVolumeClaim" in volume:
        return "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    if "configMap" in volume:
        return "ConfigMap", volume["configMap"]["name"]
    return "Secret", volume["secret"]["secretName"]


def _labels(spec: Any) -> list[tuple[str, str]]:
    """Find all labels that something selects by."""
    if isinstance(spec, list):
        return [label for one in spec for label in _labels(one)]
    if not isinstance(spec, dict):
        return []
    found = [label for key, one in spec.items() if key != "ports" for label in _labels(one)]
    found += list(spec.get("matchLabels", {}).items())
    selector = spec.get("selector", {})
    found += [pair for pair in selector.items() if isinstance(pair[1], str)]
    return found


# ---- compose


def test_compose_names_what_it_has() -> None:
    (made,) = documents(DEPLOY / "compose.yaml")
    assert set(made["services"]) == {"redis", "head", "node", "twin"}
    for service in made["services"].values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source in made["volumes"] or (DEPLOY / source).exists(), mount
    assert made["services"]["node"]["deploy"]["replicas"] == 2


def test_the_twin_of_compose_is_a_command_that_there_is() -> None:
    from typer.main import get_command

    from actors.cli.twin import app

    (made,) = documents(DEPLOY / "compose.yaml")
    words = made["services"]["twin"]["command"]
    known = {name for one in get_command(app).params for name in one.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_redis_of_compose_is_one_that_the_store_takes() -> None:
    (made,) = documents(DEPLOY / "compose.yaml")
    words = made["services"]["redis"]["command"].split()[1:]
    told = {
        name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    facts = ServerFacts("redis:6379", "a", "master", "7.2.0", True, 0, 1 << 30, told)
    assert trouble_of(facts, 0) == []
    assert trouble_of(msgspec.structs.replace(facts, settings={}), 0), "the test can fail"


@pytest.mark.parametrize("name", ["compose.toml", "kuberay/veredus.toml"])
def test_configurations_are_configurations(name: str) -> None:
    config = parse((DEPLOY / name).read_text(), name, {})
    assert config.store.kind == "redis"
    assert config.workers.ray_address == "auto"
    assert config.scaling.workers_max >= config.workers.count


def test_the_key_of_the_try_out_is_the_one_that_is_told() -> None:
    from actors.gateway.keys import hash_key

    config = parse((DEPLOY / "compose.toml").read_text(), "compose.toml", {})
    assert config.http.operator_key_hashes == (hash_key("veredus-try-out"),)


def test_the_image_has_all_packages() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    packages = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]
    for package in packages["root_packages"]:
        assert f"COPY {package} /src/{package}\n" in text


@pytest.mark.skipif(shutil.which("kubeconform") is None, reason="kubeconform isn't installed")
def test_kubernetes_takes_what_isnt_rays() -> None:
    subprocess.run(["kubeconform", "-strict", str(DEPLOY / "kuberay/around.yaml")], check=True)
