"""The image's recipe and the manifests, as far as they can be looked at without a container engine."""

from __future__ import annotations

import fnmatch
import re

import pytest
from ruamel.yaml import YAML

from downloader.job import Job
from tests.harness import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
MANIFESTS = sorted((ROOT / "docs" / "kubernetes").glob("*.yaml"))
SECRET = re.compile(
    r"AKIA|BEGIN [A-Z ]*PRIVATE|ya29\.|password\s*[:=]|AWS_SECRET_ACCESS_KEY\s*[:=]", re.IGNORECASE
)


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [(words[0].upper(), words[1]) for line in joined.splitlines() if (words := line.split(None, 1))]


def documents() -> list[dict]:
    return [doc for path in MANIFESTS for doc in YAML(typ="safe").load_all(path.read_text(encoding="utf-8"))]


def pods() -> list[tuple[str, dict]]:
    return [
        (d["metadata"]["name"], d["spec"]["template"]["spec"])
        for d in documents()
        if "template" in d.get("spec", {})
    ]


def test_the_image_is_built_in_two_stages_and_runs_as_nobody_in_particular():
    names = [name for name, _ in instructions()]
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert set(names) <= known
    stages = [rest for name, rest in instructions() if name == "FROM"]
    assert len(stages) == 2
    assert all("-slim" in stage for stage in stages)
    last = instructions()[max(i for i, name in enumerate(names) if name == "FROM") :]
    users = [rest for name, rest in last if name == "USER"]
    assert users
    assert users[-1].split(":")[0] not in {"0", "root"}
    copies = [rest for name, rest in last if name == "COPY"]
    assert copies == ["--from=build /opt/downloader /opt/downloader"], (
        "no source and no pip cache in the image"
    )
    assert dict(last)["ENTRYPOINT"] == '["downloader"]'


def test_what_is_copied_is_there_and_let_in():
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word.removeprefix("./")
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    shut_out = [rule.removeprefix("**/") for rule in rules[1:] if not rule.startswith("!")]
    ours = [
        path.name
        for path in (ROOT / "downloader").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert not [name for name in ours for rule in shut_out if fnmatch.fnmatch(name, rule)], (
        "of the package nothing is"
    )
    assert any(fnmatch.fnmatch("my-key.json", rule) for rule in shut_out)


def test_no_secret_anywhere():
    for path in (ROOT / "Dockerfile", ROOT / ".dockerignore", *MANIFESTS):
        assert not SECRET.search(path.read_text(encoding="utf-8")), path
    assert not [doc for doc in documents() if doc["kind"] == "Secret"]


def test_manifests_have_what_kubernetes_asks_for():
    kinds = {
        "ConfigMap": "v1",
        "Service": "v1",
        "Job": "batch/v1",
        "Deployment": "apps/v1",
        "NetworkPolicy": "networking.k8s.io/v1",
    }
    assert {doc["kind"] for doc in documents()} == set(kinds)
    for doc in documents():
        assert doc["apiVersion"] == kinds[doc["kind"]]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", doc["metadata"]["name"])
        if doc["kind"] == "Deployment":
            labels = doc["spec"]["template"]["metadata"]["labels"]
            assert doc["spec"]["selector"]["matchLabels"].items() <= labels.items()
        if doc["kind"] == "Job":
            assert doc["spec"]["template"]["spec"]["restartPolicy"] == "Never"
            (rule,) = doc["spec"]["podFailurePolicy"]["rules"]
            assert rule["onExitCodes"]["values"] == [2, 3, 5, 6], "4 and signals are tried again"


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_pods_have_no_rights_and_mount_what_they_name(name, pod):
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 10001
    assert pod["automountServiceAccountToken"] is False
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["containers"]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert container["resources"]["limits"]["memory"]
        assert "env" not in container, "no value of a variable stands here"


def test_the_job_in_the_manifests_is_one():
    (job,) = [doc["data"]["job.yaml"] for doc in documents() if doc["kind"] == "ConfigMap"]
    assert Job.parse(job).mosaic_path == "s3://my-bucket/scene.zarr"
    (overridden,) = [
        argument
        for _, pod in pods()
        for container in pod["containers"]
        for argument in container.get("args", ())
        if argument.startswith("executor=")
    ]
    settled = Job.parse(job, overrides=[overridden])
    (service,) = [doc for doc in documents() if doc["kind"] == "Service"]
    assert settled.executor.dask.scheduler == f"tcp://{service['metadata']['name']}:8786"
