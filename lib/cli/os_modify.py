"""gnt-os modify: what the cluster keeps about an operating system."""

from __future__ import annotations

from typing import Any

from ganeti import errors
from ganeti.cli import common
from ganeti.ops.base import Parse
from ganeti.ops.verbs import Argument, Call, Session, option, verb
from ganeti.wire import codec


@verb(
    "gnt-os",
    "modify",
    arguments=(Argument(name="os", completes="os"),),
    options=(
        option("hvparams", "-H", "--hypervisor-parameters", help="of instances with this operating system, by"
               " hypervisor", parse=Parse.IDENT_KEYVAL, metavar="HV:KEY=VALUE,..."),
        option("osparams", "-O", "--os-parameters", help="for the OS scripts", parse=Parse.KEYVAL,
               metavar="KEY=VALUE,..."),
        option("osparams_private", "--os-parameters-private", help="for the OS scripts too; kept, but shown to nobody",
               parse=Parse.KEYVAL, metavar="KEY=VALUE,..."),
        option("hidden", "--hidden", help="leave it out of lists", parse=Parse.YES_NO, metavar="yes|no"),
        option("blacklisted", "--blacklisted", help="refuse new instances with it", parse=Parse.YES_NO,
               metavar="yes|no"),
        common.SUBMIT, common.PRINT_JOBID, common.DRY_RUN, common.PRIORITY,
    ),
)  # fmt: skip
def modify(session: Session, call: Call) -> int:
    """Change what the cluster keeps about an operating system or one of its variants (NAME+VARIANT).

    Instances with it get these parameters unless they have their own; `default` as a value takes one away.
    """
    from ganeti.ops.cluster import OpClusterSetParams

    (name,) = call.arguments
    given: dict[str, Any] = {}  # Any: JSON
    if "hvparams" in call.options:
        # no_kvm and -kvm: all of that hypervisor's go
        sets = {hv: values if isinstance(values, dict) else None for hv, values in call.options["hvparams"].items()}
        given["os_hvp"] = {name: sets}
    if "osparams" in call.options:
        given["osparams"] = {name: call.options["osparams"]}
    if "osparams_private" in call.options:
        given["osparams_private_cluster"] = {name: call.options["osparams_private"]}
    for flag_name in ("hidden", "blacklisted"):
        if flag_name in call.options:
            action = "add" if call.options[flag_name] else "remove"
            given[f"{flag_name}_os"] = [[action, name]]
    if not given:
        raise errors.PrereqError("wrong_input", "nothing to change", hint="give at least one option; --help lists them")
    session.run(codec.convert(given, OpClusterSetParams))
    return 0
