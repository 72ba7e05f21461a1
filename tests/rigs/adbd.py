"""Enough of Android's adbd for the real ``adb`` client to run shell commands on this machine.

It speaks ADB's transport protocol (system/core/adb/protocol.txt) without authentication, and
version 2 of its shell protocol: separate outputs and an exit code, as Android 7 and newer do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Mapping
from typing import BinaryIO

HEADER = struct.Struct("<4sIIIII")
VERSION, MAX_DATA = 0x01000000, 256 * 1024
BANNER = b"device::ro.product.name=test;ro.product.model=test;features=shell_v2"
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)


class Adbd:
    """One listening device; ``with Adbd(environment) as device`` runs it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = os.environ | environment
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.open = [self.listener]
        self.thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Adbd:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.open:
            with contextlib.suppress(OSError):  # the other side may have ended it
                one.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            with connection, connection.makefile("rb") as incoming:
                Transport(connection, incoming, self.environment).serve()


class Transport:
    """One connection of an adb server, with a shell for each stream that it opens."""

    def __init__(
        self, connection: socket.socket, incoming: BinaryIO, environment: Mapping[str, str]
    ) -> None:
        self.connection = connection
        self.incoming = incoming
        self.environment = environment
        self.lock = threading.Lock()
        self.shells: dict[int, Shell] = {}

    def serve(self) -> None:
        """Answer until the connection ends."""
        while len(header := self.incoming.read(HEADER.size)) == HEADER.size:
            command, theirs, ours, length, _, _ = HEADER.unpack(header)
            data = self.incoming.read(length)
            if command == b"CNXN":
                self.send(b"CNXN", VERSION, MAX_DATA, BANNER)
            elif command == b"OPEN":
                self.shells[theirs] = Shell(self, theirs, data.rstrip(b"\0").decode())
                self.send(b"OKAY", theirs, theirs)
                self.shells[theirs].thread.start()
            elif command == b"WRTE":
                self.send(b"OKAY", ours, theirs)
                self.shells[theirs].receive(data)
            elif command == b"OKAY":
                self.shells[theirs].ready.release()
            elif command == b"CLSE" and theirs in self.shells:
                self.shells.pop(theirs).ready.release()

    def send(self, command: bytes, ours: int, theirs: int, data: bytes = b"") -> None:
        """Send one message."""
        magic = int.from_bytes(command, "little") ^ 0xFFFFFFFF
        message = HEADER.pack(command, ours, theirs, len(data), sum(data) & 0xFFFFFFFF, magic)
        with self.lock:
            self.connection.sendall(message + data)


class Shell:
    """One command, between its pipes and the packets of a stream."""

    def __init__(self, transport: Transport, stream: int, service: str) -> None:
        self.transport, self.stream = transport, stream
        # Each written message waits for the other side's OKAY.
        self.ready = threading.Semaphore(1)
        self.pending = b""
        kind, _, command = service.partition(":")
        assert {"shell", "v2", "raw"} <= set(kind.split(",")), service
        self.process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=transport.environment,
        )
        self.thread = threading.Thread(target=self._pump)

    def receive(self, data: bytes) -> None:
        """Give the command its standard input."""
        self.pending += data
        stdin = self.process.stdin
        assert stdin is not None
        while len(self.pending) >= 5:
            kind, length = struct.unpack("<BI", self.pending[:5])
            if len(self.pending) < 5 + length:
                return
            content, self.pending = self.pending[5 : 5 + length], self.pending[5 + length :]
            try:
                if kind == STDIN:
                    stdin.write(content)
                elif kind == CLOSE_STDIN:
                    stdin.close()
            except (BrokenPipeError, ValueError):
                pass  # the command has ended without reading all of it, as one may

    def _pump(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        assert self.process.stdin is not None
        errors = threading.Thread(target=self._copy, args=(STDERR, self.process.stderr))
        errors.start()
        self._copy(STDOUT, self.process.stdout)
        errors.join()
        self._write(EXIT, bytes([self.process.wait() & 0xFF]))
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):  # unread input
                pipe.close()
        self.ready.acquire()
        self.transport.send(b"CLSE", self.stream, self.stream)

    def _copy(self, kind: int, pipe: BinaryIO) -> None:
        while data := os.read(pipe.fileno(), 4096):
            self._write(kind, data)

    def _write(self, kind: int, data: bytes) -> None:
        self.ready.acquire()
        packet = struct.pack("<BI", kind, len(data)) + data
        self.transport.send(b"WRTE", self.stream, self.stream, packet)
