"""What the images are, and how a container ends whose settings are wrong."""

import io
import json
import subprocess
import tarfile

from stack import HARDENED, docker, expect, fail, inspect, run, say

# Five of them are OpenSSL, which the clients of Kafka and MQTT bring, and four are clients of brokers.
MAX_IMAGE_BYTES = 40_000_000
USER = "65532:65532"
# A container whose settings are wrong: the image, what it is told, its status, and what its sentence says.
WRONG = [
    ("sluicegate", ["-e", "SLUICEGATE_INGEST_LANES=0"], ["serve"], 2, ["ingest.lanes is 0", "1 to 64"]),
    ("sluicegate", ["-e", "SLUICEGATE_INGEST_LAINS=2"], ["serve"], 2, ["SLUICEGATE_INGEST_LAINS is not a setting"]),
    ("sluicegate", ["-e", "SLUICEGATE_INSECURE=true"], ["serve"], 2, ["no database", "--database-url"]),
    ("sluicegate", ["-e", "SLUICEGATE_DATABASE_URL=mysql://u@127.0.0.1:1/db"], ["serve"], 2,
     ["grpc_addr is 0.0.0.0:50051", "tls.cert", "auth.tokens", "--insecure"]),
    ("sluicegate", ["-e", "SLUICEGATE_DATABASE_URL=mysql://host/"], ["serve"], 2, ["names no database"]),
    ("sluicegate", ["-e", "SLUICEGATE_CONFIG=/sluicegate.yaml"], ["serve"], 2, ["/sluicegate.yaml", "--config cannot be read"]),
    ("sluicegate", ["-e", "SLUICEGATE_INSECURE=true", "-e", "SLUICEGATE_CONNECT_DEADLINE_S=0",
                    "-e", "SLUICEGATE_DATABASE_URL=mysql://u@127.0.0.1:1/db"], ["serve"], 1,
     ["127.0.0.1:1", "--database-url"]),
    ("sluicegen", [], ["serve", "--rate", "fast"], 2, ["--rate", "fast"]),
    ("sluicegen", ["-e", "SLUICEGEN_ADDR=everywhere"], ["serve"], 2, ["--addr", "everywhere"]),
    ("sluicegen", [], ["serve"], 2, ["--addr is 0.0.0.0:9000", "--api-tls-cert", "--api-token-file", "--insecure"]),
    ("sluicegen", ["-e", "SLUICEGEN_INSECURE=true"], ["serve", "--ready-file", "/ready.json"], 1, ["--ready-file /ready.json", "Read-only file system"]),
]


def files_of(image):
    """Everything that a container of this image finds: path to entry and content."""
    container = docker("create", "--network", "none", image)
    try:
        packed = subprocess.run(["docker", "export", container], check=True, capture_output=True).stdout
    finally:
        docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return {entry.name: (entry, archive.extractfile(entry).read() if entry.isfile() else b"") for entry in archive}


def check_image(program, tag, commit):
    image = f"{program}:{tag}"
    about = inspect(image)
    size = about["Size"]
    expect(size < MAX_IMAGE_BYTES, f"{image} has {size} bytes, and {MAX_IMAGE_BYTES} are too many")
    config = about["Config"]
    for name, wanted in [("User", USER), ("Entrypoint", [f"/{program}"]), ("Cmd", ["serve"])]:
        expect(config[name] == wanted, f"{image}: {name} is {config[name]}, and should be {wanted}")
    test = config["Healthcheck"]["Test"]
    expect(test == ["CMD", f"/{program}", "healthcheck"], f"{image}: its health check is {test}")
    revision = config["Labels"]["org.opencontainers.image.revision"]
    expect(revision == commit, f"{image}: its revision is {revision!r}")
    files = files_of(image)
    names = [name.rsplit("/", 1)[-1] for name, (entry, _) in files.items() if entry.isfile()]
    for shell in ("sh", "bash", "dash", "busybox"):
        expect(shell not in names, f"{image} has a shell")
    entry, content = files[program]
    expect(entry.uid == 0 and entry.mode & 0o022 == 0, f"{image}: its user may change the program")
    expect(b"\0.symtab\0" not in content, f"{image}: the program is not stripped")
    writable = [name for name, (entry, _) in files.items() if entry.isfile() and entry.mode & 0o002]
    expect(not writable, f"{image}: everybody may change {writable}")
    version = docker("run", "--rm", *HARDENED, "--network", "none", image, "--version")
    expect(version.startswith(f"{program} "), f"{image}: --version says {version}")
    say(f"{image}: {size / 1e6:.1f} MB ({len(content) / 1e6:.1f} MB of them the program), {len(names)} files, user {USER}, "
        "stripped, no shell")


def ended(image, options, arguments):
    """How a container ends by itself, with what Docker and its log say of it."""
    container = docker("run", "--detach", *HARDENED, "--network", "none", *options, image, *arguments)
    try:
        # It ends at once, or the test does.
        run("timeout", "60", "docker", "wait", container)
        log = run("docker", "logs", container)
        return inspect(container), log.stdout + log.stderr
    finally:
        docker("rm", "--force", container)


def check_wrong_settings(tag):
    for program, options, arguments, status, words in WRONG:
        about, log = ended(f"{program}:{tag}", options, arguments)
        what = f"{program} {' '.join([*options, *arguments])}"
        state = about["State"]
        expect(state["Status"] == "exited" and state["ExitCode"] == status, f"{what}: {json.dumps(state)} {log}")
        # A generator says first where its page is, and that everybody gets in.
        sentence = "\n".join(line for line in log.splitlines() if "/swagger/" not in line and "insecure)" not in line)
        if len(sentence.splitlines()) != 1 or not sentence.startswith(f"{program}: "):
            fail(f"{what}: not one sentence: {log}")
        missing = [word for word in words if word not in sentence]
        expect(not missing, f"{what}: the sentence lacks {missing}: {sentence}")
    say(f"{len(WRONG)} containers with wrong settings end at once, each with one sentence and its status")


def check(tag, commit):
    for program in ("sluicegate", "sluicegen"):
        check_image(program, tag, commit)
    check_wrong_settings(tag)
