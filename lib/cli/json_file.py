"""Files that commands read."""

from __future__ import annotations

from typing import Any

from ganeti import errors
from ganeti.host import regular


def read(path: str) -> Any:
    """The content of a JSON file (Any: JSON; the master checks it). Raises PrereqError."""
    from ganeti.wire import codec

    try:
        return codec.loads(regular.read_argument(path))
    except OSError as err:
        raise errors.PrereqError("environment_error", f"cannot read {path!r}: {err.strerror}") from err
    except codec.CodecError as err:
        raise errors.PrereqError("wrong_input", f"{path}: {err}") from err
