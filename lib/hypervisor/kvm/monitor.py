"""One command at a time over an emulator's QMP socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ganeti import errors
from ganeti.host import files

if TYPE_CHECKING:
    from qemu.qmp import QMPClient


class MonitorError(errors.HypervisorError):
    """The emulator did not answer, or said no."""


def execute(
    socket: str, command: str, arguments: dict[str, Any] | None = None, *, lock: str, timeout_s: float = 5.0
) -> Any:
    """The command's return value. Raises MonitorError.

    Sessions of one socket follow each other by the file `lock`: QMP serves one client, and the others' connections
    are not even accepted. Must not be called from a thread that runs an event loop.
    """
    with files.locked(lock, mode=0o600):
        return asyncio.run(_session(socket, command, arguments or {}, timeout_s))


async def _session(socket: str, command: str, arguments: dict[str, Any], timeout_s: float) -> Any:
    # imported on use: the registry of drivers is loaded by programs that never talk to an emulator
    from qemu.qmp import ExecuteError, QMPClient, QMPError

    client = QMPClient()
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect(socket)
            return await client.execute(command, arguments)
    except TimeoutError as err:
        raise MonitorError(f"the emulator did not answer {command} within {timeout_s:g} s") from err
    except ExecuteError as err:
        raise MonitorError(f"the emulator refused {command}: {err}") from err
    except (QMPError, OSError, EOFError) as err:
        raise MonitorError(f"the emulator could not be told {command}: {err}") from err
    finally:
        await _disconnect(client)


async def _disconnect(client: QMPClient) -> None:
    from qemu.qmp import QMPError

    try:
        async with asyncio.timeout(2):
            await client.disconnect()
    except (QMPError, OSError, EOFError, TimeoutError):
        return  # the answer is here already; `quit` ends the connection from the other side
