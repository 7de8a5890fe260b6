"""The clients' end of the local protocol for programs with an event loop: many questions at once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from ganeti import errors
from ganeti.luxi import framing, methods
from ganeti.wire import codec

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 180.0
#: connections that are open at once; more callers wait for one
MAX_CONNECTIONS = 600
#: connections without a question that are kept for the next one
_IDLE = 32


class _Lost(Exception):
    """The connection ended before the answer."""


class _Answer(msgspec.Struct):
    success: bool
    result: msgspec.Raw = msgspec.Raw(b"null")


class AnswerTimeout(errors.LuxiError):
    """The master took too long."""

    http_status = 504


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def is_usable(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def exchange(self, data: bytes) -> bytes:
        """Raises _Lost or TimeoutError; then the connection is of no use any more."""
        try:
            self._writer.write(data)
            await self._writer.drain()
            return (await self._reader.readuntil(framing.ETX))[:-1]
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as err:
            raise _Lost(str(err)) from err

    def close(self) -> None:
        self._writer.transport.abort()


class AsyncClient:
    """Any number of calls at once, each on a connection of its own, which is used again afterwards."""

    def __init__(
        self,
        address: str,
        *,
        read_timeout_s: float = READ_TIMEOUT_S,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._address = address
        self._read_timeout_s = read_timeout_s
        self._idle: list[_Connection] = []
        self._places = asyncio.Semaphore(max_connections)

    async def call(self, method: str, *args: Any, key: str | None = None) -> Any:  # Any: JSON
        """The result of a method. Raises what the master raised, LuxiError or NoMasterError."""
        return codec.unpack(bytes(await self.call_raw(method, *args, key=key)), object)

    async def call_raw(self, method: str, *args: Any, key: str | None = None) -> msgspec.Raw:
        """As `call`, with the result as the JSON text that the master wrote."""
        request: dict[str, Any] = {"method": method, "args": list(args)}
        if key is not None:
            request["key"] = key
        data = framing.frame(request)
        may_repeat = key is not None or methods.is_question(method)
        async with self._places:
            try:
                raw = await self._exchange(data)
            except _Lost as err:
                if not may_repeat:
                    raise errors.LuxiError(
                        f"the connection to the master was lost after {method} was sent",
                        hint="it may or may not have been carried out; look before you repeat it",
                    ) from err
                try:
                    raw = await self._exchange(data)
                except _Lost as again:
                    raise errors.LuxiError("the connection to the master was lost again and again") from again
        try:
            answer = codec.unpack(raw, _Answer)
        except codec.CodecError as err:
            raise errors.LuxiError("the master's answer has not the form of an answer") from err
        if not answer.success:
            raise errors.decode(codec.unpack(bytes(answer.result), object))
        return answer.result

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _exchange(self, data: bytes) -> bytes:
        connection = await self._connection()
        is_whole = False
        try:
            async with asyncio.timeout(self._read_timeout_s):
                raw = await connection.exchange(data)
            is_whole = True
            return raw
        except TimeoutError as err:
            raise AnswerTimeout(f"the master did not answer within {self._read_timeout_s:g} s") from err
        finally:
            # also when the caller was cancelled: an answer that comes late must not be taken for the next one
            if is_whole and len(self._idle) < _IDLE:
                self._idle.append(connection)
            else:
                connection.close()

    async def _connection(self) -> _Connection:
        while self._idle:
            kept = self._idle.pop()
            if kept.is_usable:
                return kept
            kept.close()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(
                    framing.address(self._address), limit=framing.MAX_REPLY
                )
        except TimeoutError as err:
            raise AnswerTimeout("the master takes no connections") from err
        except OSError as err:
            raise errors.NoMasterError(
                f"the master daemon does not answer: {err.strerror or err}", hint="does ganeti-masterd run?"
            ) from err
        return _Connection(reader, writer)
