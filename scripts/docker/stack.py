"""The stack of docker/compose.yaml, and the engine below it."""

import json
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

# Generous: nothing passes or fails by speed.
WAIT_S = 180
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
STARTED = time.monotonic()


def say(text):
    print(f"       [{time.monotonic() - STARTED:4.0f}s] {text}", flush=True)


def fail(reason):
    raise SystemExit(f"test-docker: {reason}")


def expect(holds, reason):
    if not holds:
        fail(reason)


def run(*command, check=True, **options):
    """Its end, with what it wrote."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def docker(*arguments, **options):
    return run("docker", *arguments, **options).stdout.strip()


def inspect(name):
    return json.loads(docker("inspect", name))[0]


def until(what, holds, explain=lambda: ""):
    """Waits for it, and returns what it says then."""
    give_up_at = time.monotonic() + WAIT_S
    while time.monotonic() < give_up_at:
        try:
            if found := holds():
                return found
        except (OSError, ValueError):
            pass  # it starts, or is on its way down
        time.sleep(0.3)
    fail(f"waited in vain: {what} {explain()}")


def get(url, trust=None):
    with urllib.request.urlopen(url, timeout=10, context=trust) as answer:
        return answer.read().decode()


def get_any(url, trust=None):
    """Status and JSON, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=10, context=trust) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Stack:
    def __init__(self, compose, folder, environment):
        self.command = compose
        self.folder = folder
        self.environment = environment
        self.project = environment["COMPOSE_PROJECT_NAME"]
        self.tag = environment["TAG"]
        self.own_token = ""
        self.rest = f"https://127.0.0.1:{environment['REST_PORT']}"

    def compose(self, *arguments, check=True):
        return run(*self.command, *arguments, check=check, env=self.environment, cwd=self.folder)

    def containers(self, service):
        """Their ids, those that have ended included."""
        return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={self.project}",
                      "--filter", f"label=com.docker.compose.service={service}",
                      "--filter", "label=com.docker.compose.oneoff=False").split()

    def container(self, service):
        found = self.containers(service)
        expect(len(found) == 1, f"there are {len(found)} containers of {service}")
        return found[0]

    def state(self, service):
        return inspect(self.container(service))["State"]

    def health(self, service):
        return self.state(service)["Health"]["Status"]

    def until_health(self, service, wanted):
        until(f"{service} is {wanted}", lambda: self.health(service) == wanted,
              lambda: json.dumps(self.state(service), indent=1) + self.log(service))

    def log(self, service):
        done = run("docker", "logs", "--tail", "30", self.container(service))
        return done.stdout + done.stderr

    def trust(self):
        """Whom whoever asks the service has to trust: the authority that the stack has made for itself."""
        with tempfile.TemporaryDirectory() as folder:
            docker("cp", f"{self.container('sluicegate')}:/credentials/ca.pem", folder)
            return ssl.create_default_context(cafile=f"{folder}/ca.pem")

    def ask(self, path):
        return get(f"{self.rest}{path}", self.trust())

    def readiness(self):
        return get_any(f"{self.rest}/readyz", self.trust())[1]

    def token(self, scopes):
        """A new one."""
        return self.compose("run", "--rm", "-T", "tokens", "token", "new", "--name", "tester", "--scopes", scopes).stdout.strip()

    def sql(self, query):
        shell = 'MYSQL_PWD=$MYSQL_PASSWORD exec mysql --user=$MYSQL_USER --batch --skip-column-names $MYSQL_DATABASE --execute "$0"'
        return docker("exec", self.container("mysql"), "sh", "-c", shell, query)

    def stored(self):
        return int(self.sql("SELECT COUNT(*) FROM sensor_readings"))

    def books(self):
        """The books of the service since it was started, once nothing is on its way."""
        def settled():
            books = self.readiness()["books"]
            return books if books["in_flight"] == 0 else None
        books = until("nothing is in flight", settled)
        accounted = books["committed"] + books["rejected"] + books["duplicate"]
        expect(books["received"] == accounted, f"the books do not balance: {books}")
        return books

    def fleet(self, *arguments, check=True):
        return self.compose("run", "--rm", "-T", "fleet", *arguments, check=check)

    def figures(self):
        done = self.fleet("stats", "--json", check=False)
        expect(done.stdout.startswith("{"), f"fleet stats: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def generator(self, *arguments, volume=None, name=None, check=True):
        """Another one beside those of the stack: it runs to its end, or goes on if it has a name."""
        where = ["--network", f"{self.project}_default", *(["--volume", f"{volume}:/journal"] if volume else []),
                 "--volume", f"{self.project}_credentials:/credentials:ro", "--env", "SLUICEGEN_TLS_CA=/credentials/ca.pem",
                 "--env", f"SLUICEGEN_TOKEN={self.own_token}"]
        how = ["--detach", "--name", name] if name else ["--rm"]
        return run("docker", "run", *how, *HARDENED, *where, f"sluicegen:{self.tag}", *arguments, check=check)
