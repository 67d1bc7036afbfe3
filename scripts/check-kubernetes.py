"""Called by check-kubernetes.sh, which has what this needs."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

import autoscaler

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docker/kubernetes"
# The oldest and the newest that are looked at.
VERSIONS = ["1.30", "1.37"]
# Of others: Kubernetes has no schema of them.
FOREIGN = {"ServiceMonitor"}


def fail(reason):
    raise SystemExit(f"check-kubernetes: {reason}")


def built():
    """What each overlay comes to: its name to its documents."""
    if not shutil.which("kubectl"):
        files = [file for file in sorted(FOLDER.rglob("*.yaml")) if file.name != "kustomization.yaml"]
        return {"all files": [document for file in files for document in yaml.safe_load_all(file.read_text())]}
    found = {}
    for kustomization in sorted(FOLDER.rglob("kustomization.yaml")):
        folder = kustomization.parent
        done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"kubectl kustomize {folder.relative_to(ROOT)}: {done.stderr.strip()}")
        found[str(folder.relative_to(FOLDER))] = list(yaml.safe_load_all(done.stdout))
    example = yaml.safe_load_all((FOLDER / "secret.example.yaml").read_text())
    return {**found, "secret.example.yaml": list(example)}


def validate(name, documents):
    for document in documents:
        kind = document["kind"]
        if kind in FOREIGN:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                fail(f"{name}: {kind} {document['metadata']['name']} on Kubernetes {version}: {error.message}")


def the(documents, kind):
    found = [document for document in documents if document["kind"] == kind]
    if len(found) != 1:
        fail(f"there are {len(found)} of {kind}, and one was expected")
    return found[0]


def check_files(settings, pod, container, secrets):
    """Each file that a setting names is a key of a secret that is mounted there."""
    of_volume = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"]}
    mounted = {mount["mountPath"]: of_volume[mount["name"]] for mount in container["volumeMounts"]}
    for name, value in settings.items():
        if value.startswith("/"):
            folder, _, key = value.rpartition("/")
            if folder not in mounted or key not in secrets[mounted[folder]]:
                fail(f"{name} names {value}, which no secret brings")


def check_settings(documents, program):
    """The program takes the settings that its pod gets, and the parts of the pod fit each other."""
    settings = the(documents, "ConfigMap")["data"]
    pod = the(documents, "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    examples = yaml.safe_load_all((FOLDER / "secret.example.yaml").read_text())
    secrets = {secret["metadata"]["name"]: secret["stringData"] for secret in examples}
    for volume in pod["volumes"]:
        if (name := volume["secret"]["secretName"]) not in secrets:
            fail(f"secret.example.yaml has no secret {name}, which the pod asks for")
    values = {"fieldRef": lambda ref: {"metadata.name": "sluicegate-0"}[ref["fieldPath"]],
              "secretKeyRef": lambda ref: secrets[ref["name"]][ref["key"]]}
    for variable in container["env"]:
        (kind, reference), = variable["valueFrom"].items()
        settings = {**settings, variable["name"]: values[kind](reference)}
    check_files(settings, pod, container, secrets)
    with tempfile.TemporaryDirectory() as folder:
        # The one file that is read before anything is served; in the pod it comes from a secret.
        subprocess.run([program / "sluicegate", "certs", folder], check=True, capture_output=True)
        done = subprocess.run([program / "sluicegate", "config"], capture_output=True, text=True,
                              env={**settings, "SLUICEGATE_DATABASE_CA": f"{folder}/ca.pem"})
    if done.returncode != 0:
        fail(f"sluicegate does not take the settings of the ConfigMap: {done.stderr.strip()}")
    deadline_s = int(settings["SLUICEGATE_SHUTDOWN_DEADLINE_S"])
    if pod["terminationGracePeriodSeconds"] < deadline_s + 15:
        fail("terminationGracePeriodSeconds does not leave SLUICEGATE_SHUTDOWN_DEADLINE_S and 15 s more")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name in ("grpc", "rest"):
        address = settings[f"SLUICEGATE_{name.upper()}_ADDR"]
        if address != f"0.0.0.0:{ports[name]}":
            fail(f"the port {name} is {ports[name]}, and the service listens on {address}")
    routes = (ROOT / "service/openapi.json").read_text()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        if f'"{path}"' not in routes:
            fail(f"{probe} asks for {path}, which the service does not have")
    if container["livenessProbe"]["httpGet"]["path"] == container["readinessProbe"]["httpGet"]["path"]:
        fail("liveness must not ask what readiness asks: a database that is away would restart the pods")
    memory = re.fullmatch(r"(\d+)Mi", container["resources"]["limits"]["memory"])
    budget_mib = int(settings["SLUICEGATE_INGEST_BUDGET_BYTES"]) / 2**20
    if int(memory[1]) < 4 * budget_mib:
        fail(f"a memory limit of {memory[1]} MiB is less than four times the budget of {budget_mib:.0f} MiB")


def check_autoscaler(documents):
    """What it would do on recorded metrics; says how far it goes."""
    container = the(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    request_cores = autoscaler.quantity(container["resources"]["requests"]["cpu"])
    _, timelines = autoscaler.check(the(documents, "HorizontalPodAutoscaler"), request_cores)
    return max(replicas for _, replicas, _ in timelines[False])


def main():
    program = Path(sys.argv[1]).absolute()
    overlays = built()
    for name, documents in overlays.items():
        validate(name, documents)
    with_pods = {name: documents for name, documents in overlays.items()
                 if any(document["kind"] == "Deployment" for document in documents)}
    if not with_pods:
        fail("nothing has a Deployment")
    for documents in with_pods.values():
        check_settings(documents, program)
    scaled = [documents for documents in overlays.values()
              if any(document["kind"] == "HorizontalPodAutoscaler" for document in documents)
              and any(document["kind"] == "Deployment" for document in documents)]
    if not scaled:
        fail("nothing has a HorizontalPodAutoscaler")
    for documents in scaled:
        print(f"the autoscaler goes up to {check_autoscaler(documents)} pods on the recorded load, and back")
    count = sum(len(documents) for documents in overlays.values())
    print(f"{count} documents in {', '.join(overlays)} fit Kubernetes {' and '.join(VERSIONS)}; the program takes its settings; "
          f"{', '.join(sorted(FOREIGN))} has no schema to be held to")


if __name__ == "__main__":
    main()
