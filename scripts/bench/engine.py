"""A private database server for measuring: fresh data directory, full durability, settings that are recorded."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from builds import CACHE, measured
from process import RUNNING, end

# The same for every case: what is acknowledged survives a loss of power.
SETTINGS = {
    "local_infile": "1",
    "innodb_flush_log_at_trx_commit": "1",
    "innodb_doublewrite": "1",
    "innodb_flush_method": "O_DIRECT",
    "innodb_buffer_pool_size": "512M",
    # MySQL's default; MariaDB's is 200 pages a second, for a single turning disk.
    "innodb_io_capacity": "10000",
    "innodb_io_capacity_max": "20000",
    "max_allowed_packet": "64M",
    "max_connections": "400",
    "character_set_server": "utf8mb4",
    "performance_schema": "OFF",
}
OF_ENGINE = {
    "mysql": {"innodb_redo_log_capacity": "2G", "mysqlx": "OFF", "secure_file_priv": "NULL", "disable_log_bin": None},
    "mariadb": {"innodb_log_file_size": "1G", "skip_log_bin": None},
}


def programs(name):
    if name == "mysql":
        return CACHE / "mysql/bin/mysqld", CACHE / "mysql/bin/mysql"
    server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    return Path(server), Path(shutil.which("mariadb") or "mariadb")


class Engine:
    """A server that is running; use it with `with`."""

    def __init__(self, name, folder, settings=()):
        self.name = name
        self.folder = Path(folder)
        self.socket = self.folder / "db.sock"
        self.server, self.client = programs(name)
        self.importer = "mariadb-import" if name == "mariadb" else self.client.with_name("mysqlimport")
        self.settings = {**SETTINGS, **OF_ENGINE[name], **dict(settings)}
        if "log_bin" in self.settings:
            for without in ("disable_log_bin", "skip_log_bin"):
                self.settings.pop(without, None)
        self.process = None

    def __enter__(self):
        data = self.folder / "data"
        shutil.rmtree(self.folder, ignore_errors=True)
        # Its own, because a MariaDB that starts removes the temporary tables of others that share the folder.
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True)
        environment = {**os.environ, "TMPDIR": str(temporary)}
        user = ["--user=root"] if os.geteuid() == 0 else []
        log = open(self.folder / "server.log", "wb")
        if self.name == "mysql":
            make = [self.server, "--no-defaults", "--initialize-insecure", f"--datadir={data}", *user]
        else:
            make = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db",
                    "--auth-root-authentication-method=normal", *user]
        subprocess.run(make, check=True, stdout=log, stderr=log, env=environment)
        flags = [f"--{key}" if value is None else f"--{key}={value}" for key, value in self.settings.items()]
        run = [self.server, "--no-defaults", f"--datadir={data}", f"--socket={self.socket}",
               f"--pid-file={self.folder}/db.pid", "--skip-networking", *flags, *user]
        self.process = subprocess.Popen(run, stdout=log, stderr=log, env=environment)
        RUNNING.append(self)
        for _ in range(600):
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} did not start: see {self.folder}/server.log")
            if self.sql("SELECT 1", check=False) == "1":
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{self.name} does not answer")
        self.version = self.sql("SELECT VERSION()")
        return self

    def __exit__(self, *_):
        RUNNING.remove(self)
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, database=""):
        return [str(self.client), "--no-defaults", f"--socket={self.socket}", "-uroot", "--local-infile=1",
                "--batch", "--skip-column-names", *([database] if database else [])]

    def sql(self, text, database="", check=True):
        done = subprocess.run([*self.command(database), "-e", text], capture_output=True, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"{self.name}: {text[:80]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def url(self, database):
        return f"mysql://root@localhost/{database}?socket={str(self.socket).replace('/', '%2F')}"

    def fresh_schema(self, layout, schema="bench"):
        """An empty schema with the readings table in one layout, as the service would make it."""
        self.sql(f"DROP DATABASE IF EXISTS {schema}; CREATE DATABASE {schema} CHARACTER SET utf8mb4")
        if layout == "series":
            # Its trigger has a semicolon inside, which a client would have to be told of.
            subprocess.run([measured().programs / "sluicegate", "migrate", "--layout", layout, "--database-url",
                            self.url(schema)], check=True, capture_output=True)
            return schema
        table = measured().layouts / f"{layout}.sql"
        subprocess.run(self.command(schema), stdin=open(table, "rb"), check=True)
        return schema

    def settle(self):
        """Lets the server write its dirty pages, so that one case does not pay for the one before."""
        for _ in range(300):
            dirty = self.sql("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'").split()
            if int(dirty[-1]) < 500:
                return
            self.sql("SET GLOBAL innodb_max_dirty_pages_pct = 0")
            time.sleep(0.2)
        raise SystemExit(f"{self.name} does not write its dirty pages: {dirty[-1]} are left")

    def purge(self):
        """Lets the server remove what was deleted for good, which it does in the background."""
        for _ in range(600):
            status = self.sql("SHOW ENGINE INNODB STATUS")
            left = int(re.search(r"History list length (\d+)", status)[1])
            if left < 1_000:
                return
            time.sleep(0.2)
        raise SystemExit(f"{self.name} does not purge: {left} transactions are left")

    def purge_binary_logs(self):
        """All but the one that is written to, which is an empty one then."""
        self.sql("FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")

    def ready(self):
        self.settle()
        self.sql("SET GLOBAL innodb_max_dirty_pages_pct = 90")
