"""Holds a node from the outside: `python -m hack.node.keeper BASE NAME [audit]`.

It makes the node's namespaces, carries connections into them, and removes what the kernel does not take back with
them: control groups. It ends the node when its standard input ends without the word `detach`; when it ends itself, in
whatever way, the supervisor inside sees the end of its own input and ends the node.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hack.cluster.configuration import PORTS_NEEDED
from hack.node import cgroups, messages
from hack.node.addresses import ENTRANCES, LOOPBACK
from hack.node.files import NodeFiles
from hack.node.namespaces import enter_network, process_namespace, python_command, unshare_command, wait_for_end
from hack.node.relay import open_listener, port_of, serve
from hack.paths import PROJECT_ROOT

# Started by its path: as a module it would load all others before, and keep them in memory.
INIT = Path(__file__).with_name("init.py")
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Seconds for the supervisor to end the node itself.
GRACE = 15.0


class Keeper:
    """One node from the outside."""

    def __init__(self, files: NodeFiles, *, audit: bool) -> None:
        self._files = files
        # The control plane has the same ports inside and outside, so that one kubeconfig is right for both.
        self._listeners = {port_of(listener): listener for listener in _listeners(PORTS_NEEDED)}
        self._entrances = dict(zip(ENTRANCES, _listeners(len(ENTRANCES)), strict=True))
        files.write_entrances({name: port_of(listener) for name, listener in self._entrances.items()})
        cgroups.create(files.cgroup)
        arguments = (str(files.base), files.name, "audit" if audit else "", *map(str, self._listeners))
        supervisor = python_command("hack.node.supervisor", *arguments)
        self._holder = subprocess.Popen(
            unshare_command(files.outside / "unshare", [sys.executable, str(INIT), *supervisor]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT_ROOT,
        )
        self._processes = ""  # their namespace, as soon as it is there
        self._is_ready = False

    async def run(self) -> None:
        """Wait until the node is ready, and carry connections until it ends, or the starter wants it to."""
        async with self._end_wanted() as wanted:
            ready = asyncio.create_task(self._wait_ready())
            stop = asyncio.create_task(wanted.wait())
            await asyncio.wait((ready, stop), return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and ready.result():
                servers = await self._serve()
                messages.tell(sys.stdout, messages.READY)
                await stop
                for server in servers:
                    server.close()
            ready.cancel()
            stop.cancel()

    async def _wait_ready(self) -> bool:
        """Pass on what the supervisor tells until the node is ready; return False when it is not going to be."""
        told = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(told)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, self._holder.stdout)
        while line := await told.readline():
            self._processes = process_namespace(self._holder.pid)
            kind, text = messages.decode(line)
            if kind == messages.READY:
                self._is_ready = True
                return True
            messages.tell(sys.stdout, kind, text)
        return False

    async def _serve(self) -> list[asyncio.Server]:
        enter_network(self._holder.pid)
        ways = [(listener, LOOPBACK, port) for port, listener in self._listeners.items()]
        ways += [(listener, *ENTRANCES[name]) for name, listener in self._entrances.items()]
        return [await serve(listener, host=host, port=port) for listener, host, port in ways]

    @asynccontextmanager
    async def _end_wanted(self) -> AsyncIterator[asyncio.Event]:
        """Yield what is set at the end of the node, or at that of the standard input unless it says to stay."""
        loop, wanted = asyncio.get_running_loop(), asyncio.Event()
        starter, node = sys.stdin.fileno(), os.pidfd_open(self._holder.pid)

        def hear() -> None:
            loop.remove_reader(starter)
            if os.read(starter, len(messages.DETACH)) != messages.DETACH:
                wanted.set()

        loop.add_reader(node, wanted.set)
        loop.add_reader(starter, hear)
        yield wanted
        loop.remove_reader(starter)
        loop.remove_reader(node)
        os.close(node)

    def end(self) -> None:
        """End the node and wait for its end; no harm when it has ended already."""
        if self._holder.stdin:
            self._holder.stdin.close()
        if not self._is_ready:  # then its supervisor does not listen yet
            self._holder.kill()
        try:
            self._holder.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            self._holder.kill()
        wait_for_end(self._processes)
        cgroups.remove(self._files.cgroup)


def main() -> None:
    """Keep one node."""
    for number in ENDING_SIGNALS:  # it ends when its starter says so, and never before
        signal.signal(number, signal.SIG_IGN)
    base, name, *rest = sys.argv[1:]
    files = NodeFiles(Path(base), name)
    keeper = Keeper(files, audit="audit" in rest)
    try:
        asyncio.run(keeper.run())
    finally:
        keeper.end()


def _listeners(count: int) -> list[socket.socket]:
    return [open_listener() for _ in range(count)]


if __name__ == "__main__":
    main()
