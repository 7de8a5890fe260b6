"""gnt-instance: commands on disks whose words are not simply fields of the operation."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.ops.disks import OpInstanceRecreateDisks
from ganeti.ops.verbs import Call, Session, option, verb


@verb(
    "gnt-instance",
    "recreate-disks",
    operation=OpInstanceRecreateDisks,
    options=(
        option("disk", "--disk", help="one of the lost disks: N or N:size=SIZE,mode=rw", is_list=True, metavar="N"),
        option("pair", "-n", "--node", help="make all of them on other nodes", metavar="PRIMARY[:SECONDARY]"),
    ),
)
def recreate_disks(session: Session, call: Call) -> int:
    """Make lost disks of a stopped instance anew; they are empty afterwards.

    A disk that is still there is refused: half a mirror is mended with gnt-instance replace-disks.
    """
    from ganeti.cli import submission

    form: dict[str, Any] = dict(call.form)  # Any: JSON
    if "disk" in call.options:
        form["disks"] = [_disk(text) for text in call.options["disk"]]
    if "pair" in call.options:
        form["nodes"] = str(call.options["pair"]).split(":")
    return submission.run(session, msgspec.structs.replace(call, form=form), OpInstanceRecreateDisks.declaration)


def _disk(text: str) -> list[Any]:  # Any: JSON
    from ganeti.cli.syntax import parse_keyval

    number, _, rest = text.partition(":")
    if not number.isdigit():
        raise errors.ParameterError(f"cannot read {text!r} as a disk", hint="write N or N:size=SIZE,mode=rw")
    return [int(number), parse_keyval(rest) if rest else {}]
