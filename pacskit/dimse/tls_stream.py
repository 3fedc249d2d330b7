"""A connection with TLS as an association reads and writes it: all records that have come, in one go.

OpenSSL gives one record (16 kB at most) a call, and a write to the file for each would double the work.
"""

from __future__ import annotations

import socket
import ssl

from pacskit.system.sockets import receive_timeout, wait_for


class TlsStream:
    """Reads and writes for one thread, in the way of a socket that blocks."""

    def __init__(self, sock: ssl.SSLSocket, timeout: float) -> None:
        """The handshake is done. `timeout`: seconds of silence until TimeoutError."""
        self._sock, self._timeout = sock, timeout
        self._receive, self._send = sock.recv_into, sock.send
        sock.setblocking(False)

    def recv_into(self, buffer: memoryview) -> int:
        """Waits for the first bytes, then takes what is there. 0: the end. Raises OSError, TimeoutError."""
        count, size = 0, len(buffer)
        while count < size:
            try:
                got = self._receive(buffer[count:])
            except ssl.SSLWantReadError:
                if count:
                    break
                self._wait(writing=False)
            except ssl.SSLWantWriteError:  # the peer wants new keys (RFC 8446 4.6.3)
                self._wait(writing=True)
            except ssl.SSLError as error:
                raise _broken(error) from error
            else:
                if not got:  # said again at the next call
                    break
                count += got
        return count

    def sendall(self, data: bytes) -> None:
        """Raises OSError; TimeoutError where the peer does not read."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._send(left) :]
            except ssl.SSLWantWriteError:
                self._wait(writing=True)
            except ssl.SSLWantReadError:
                self._wait(writing=False)
            except ssl.SSLError as error:
                raise _broken(error) from error

    def _wait(self, *, writing: bool) -> None:
        if not wait_for(self._sock, self._timeout, writing=writing):
            raise TimeoutError("timed out")


def stream_of(sock: socket.socket, timeout: float) -> socket.socket | TlsStream:
    """Reads and writes that block, for `timeout` seconds of silence; with TLS once the handshake is done."""
    if isinstance(sock, ssl.SSLSocket):
        return TlsStream(sock, timeout)
    receive_timeout(sock, timeout)
    return sock


def _broken(error: ssl.SSLError) -> ConnectionError:
    """What OpenSSL says, as a sentence: an alert of the peer, a record that was changed on its way."""
    return ConnectionError(f"TLS broke off: {(error.reason or 'without a reason').lower().replace('_', ' ')}")
