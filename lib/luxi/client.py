"""The clients' end of the local protocol: blocking, cheap to import."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Self

from ganeti import errors, paths
from ganeti.host.clock import Clock, SystemClock
from ganeti.luxi import framing
from ganeti.paths import Paths
from ganeti.wire import codec

#: overrides the default socket: `master`, `query` or a path
SOCKET_VARIABLE = "FORCE_LUXI_SOCKET"
CONNECT_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 180.0
#: how long the master may be silent before its caller is told what is waited for
NOTICE_AFTER_S = 2.0
#: waits before a request is sent once more after the connection was lost, in seconds
RESEND_AFTER_S = (0.0, 1.0, 2.0, 5.0, 10.0)
_READ = 1 << 18


class _Lost(Exception):
    """The connection ended. `is_sent`: the whole request may have arrived."""

    def __init__(self, why: str, *, is_sent: bool) -> None:
        super().__init__(why)
        self.is_sent = is_sent


def default_address(where: Paths, environ: Mapping[str, str]) -> str:
    """The socket to talk to on this node."""
    forced = environ.get(SOCKET_VARIABLE, "")
    if forced not in ("", "query", "master"):
        return forced
    return where.local(paths.MASTER_SOCKET if forced == "master" else paths.QUERY_SOCKET)


class Client:
    """One connection to the master, made at the first call and made anew when it was lost."""

    def __init__(
        self,
        address: str | None = None,
        *,
        paths: Paths | None = None,
        environ: Mapping[str, str] = os.environ,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        wait_for_master: bool = True,
        clock: Clock | None = None,
        own_name: Callable[[], str] | None = None,
        first_question_timeout_s: float | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`wait_for_master`: whether to try again while the master's daemon on this node does not answer.

        `first_question_timeout_s`: takes the place of `connect_timeout_s` for a question that comes before any
        connection was made. `tell`: gets one line when connecting takes long.
        """
        self._paths = paths or Paths.from_environment(environ)
        self._address = address or default_address(self._paths, environ)
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._wait_for_master = wait_for_master
        self._clock: Clock = clock or SystemClock()
        self._own_name = own_name
        self._first_question_timeout_s = first_question_timeout_s
        self._tell = tell
        self._was_connected = False
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, method: str, *args: Any, key: str | None = None) -> Any:  # Any: JSON
        """The result of a method. Raises what the master raised, LuxiError, NoMasterError, or PrereqError when this
        node is not the master.

        A request that may have arrived is sent again only if that cannot do it twice: questions, and submissions
        that carry a `key`.
        """
        request: dict[str, Any] = {"method": method, "args": list(args)}
        if key is not None:
            request["key"] = key
        data = framing.frame(request)
        for wait_s in (*RESEND_AFTER_S, None):
            try:
                return _result(self._exchange(method, data))
            except _Lost as err:
                self.close()
                if err.is_sent and key is None and not _is_question(method):
                    raise errors.LuxiError(
                        f"the connection to the master was lost ({err}) after {method} was sent",
                        hint="it may or may not have been carried out; look before you repeat it",
                    ) from err
                if wait_s is None:
                    raise errors.LuxiError(f"the connection to the master was lost again and again ({err})") from err
                self._clock.sleep(wait_s)
        raise AssertionError("unreachable")

    # How it works.

    def _exchange(self, method: str, data: bytes) -> bytes:
        stream = self._connected(method)
        stream.settimeout(self._read_timeout_s)
        try:
            # ETX is the last byte: what failed to send has not arrived as a request
            stream.sendall(data)
        except TimeoutError as err:
            self.close()
            raise errors.LuxiError(f"the master took no request for {self._read_timeout_s:g} s") from err
        except OSError as err:
            raise _Lost(err.strerror or str(err), is_sent=False) from err
        buffer = framing.MessageBuffer(framing.MAX_REPLY)
        deadline = self._clock.monotonic() + 2 * self._read_timeout_s
        try:
            while True:
                received = stream.recv(_READ)
                if not received:
                    raise _Lost("it was closed", is_sent=True)
                messages = buffer.feed(received)
                if messages:
                    break
                if self._clock.monotonic() > deadline:
                    raise TimeoutError
        except TimeoutError as err:
            # the answer may still come and would be taken for that of the next request
            self.close()
            raise errors.LuxiError(f"the master did not answer within {self._read_timeout_s:g} s") from err
        except OSError as err:
            raise _Lost(err.strerror or str(err), is_sent=True) from err
        except errors.LuxiError:
            self.close()
            raise
        if len(messages) != 1 or not buffer.is_empty:
            self.close()
            raise errors.LuxiError("the master sent more than one answer to one request")
        return messages[0]

    def _connected(self, method: str) -> socket.socket:
        if self._socket is not None:
            return self._socket
        began = self._clock.monotonic()
        is_told = False
        target = framing.address(self._address)
        while True:
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                stream.settimeout(self._connect_timeout_s)
                stream.connect(target)
            except OSError as err:
                stream.close()
                wait_s = self._wait_after(err)
                waited_s = self._clock.monotonic() - began
                if waited_s + wait_s > self._patience_s(method):
                    raise self._no_answer(err) from err
                if waited_s >= NOTICE_AFTER_S and not is_told:
                    self._tell("waiting for the master daemon...")
                    is_told = True
                self._clock.sleep(wait_s)
            else:
                self._was_connected = True
                self._socket = stream
                return stream

    def _patience_s(self, method: str) -> float:
        if self._first_question_timeout_s is None or self._was_connected or not _is_question(method):
            return self._connect_timeout_s
        return self._first_question_timeout_s

    def _wait_after(self, err: OSError) -> float:
        """Seconds until the next try; raises when there is no use in it."""
        if isinstance(err, BlockingIOError | TimeoutError | InterruptedError):
            return 0.1  # EAGAIN: too many are connecting at once
        if isinstance(err, FileNotFoundError | ConnectionRefusedError):
            self._check_is_master()
            if self._wait_for_master:
                return 1.0
        raise self._no_answer(err) from err

    def _no_answer(self, err: OSError) -> errors.GanetiError:
        if isinstance(err, PermissionError):
            return errors.PrereqError(
                "environment_error",
                f"no permission for the master's socket {self._address}",
                hint="run the command as root or as a member of the daemons' group",
            )
        return errors.NoMasterError(
            f"nobody answers on {self._address}: {err.strerror or err}",
            hint="is ganeti-masterd running? its log says why it ended",
        )

    def _check_is_master(self) -> None:
        """Raises PrereqError when this node is not the master, or in no cluster."""
        from ganeti.host import files, net  # only when something is wrong: it costs start-up time

        master = (files.read_text(self._paths.local(paths.ssconf("master_node"))) or "").strip().lower()
        if not master:
            raise errors.PrereqError(
                "wrong_state",
                "this node is not part of a cluster",
                hint="run gnt-cluster init, or go to the master node",
            )
        own = (self._own_name or (lambda: net.own_name(self._paths)))().lower()
        if master != own and not master.startswith(own + "."):
            raise errors.PrereqError("wrong_state", f"not the master, connect to {master}")


def _is_question(method: str) -> bool:
    from ganeti.luxi import methods  # only when something is wrong

    return methods.is_question(method)


def _result(raw_reply: bytes) -> Any:
    try:
        reply = codec.loads(raw_reply)
    except codec.CodecError as err:
        raise errors.LuxiError(f"the master's answer cannot be parsed: {err}") from err
    if not isinstance(reply, dict) or not isinstance(reply.get("success"), bool) or "result" not in reply:
        raise errors.LuxiError("the master's answer has not the form of an answer")
    if not reply["success"]:
        raise errors.decode(reply["result"])
    return reply["result"]
