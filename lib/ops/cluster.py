"""Operations on the cluster as a whole."""

from __future__ import annotations

from typing import Annotated

from ganeti.model.objects import Params
from ganeti.ops.base import Cli, OpCode, Parse, Rest, operation, opt


@operation(
    cli=Cli(tool="gnt-cluster", verb="destroy", custom=True, common=()), hooks="cluster-destroy", object_type="CLUSTER"
)
class OpClusterDestroy(OpCode, frozen=True, tag="OP_CLUSTER_DESTROY"):
    """End the cluster: only the master may be left, without instances."""


@operation(cli=Cli(tool="gnt-cluster", verb="verify", common=("dry_run", "priority")))
class OpClusterVerify(OpCode, frozen=True, tag="OP_CLUSTER_VERIFY"):
    """Check the configuration and all nodes; submits one job for the cluster and one per node group."""

    skip_checks: Annotated[
        tuple[str, ...],
        opt("--no-nplus1-mem", help="skip the check that each node could take over", const="nplusone_mem"),
    ] = ()
    error_codes: Annotated[bool, opt("--error-codes", help="machine-readable messages: type:code:object:message")] = (
        False
    )
    ignore_errors: Annotated[
        tuple[str, ...], opt("-I", "--ignore-errors", help="error codes to treat as warnings", parse=Parse.LIST)
    ] = ()
    verbose: Annotated[bool, opt("-v", "--verbose", help="tell more of what is checked")] = False
    debug_simulate_errors: Annotated[bool, opt("--debug-simulate-errors", help="act as if every check failed")] = False
    group_name: Annotated[str, opt("-g", "--node-group", help="only the nodes of this group", metavar="GROUP")] = ""
    verify_clutter: Annotated[bool, opt("--verify-ssh-clutter", help="look for leftover SSH keys")] = False


@operation()
class OpClusterVerifyConfig(OpCode, frozen=True, tag="OP_CLUSTER_VERIFY_CONFIG"):
    """Check the configuration, the certificates and the replicated state."""

    error_codes: bool = False
    ignore_errors: tuple[str, ...] = ()
    verbose: bool = False
    debug_simulate_errors: bool = False


@operation(hooks="cluster-verify", object_type="CLUSTER", summary="group_name")
class OpClusterVerifyGroup(OpCode, frozen=True, tag="OP_CLUSTER_VERIFY_GROUP"):
    """Check the nodes and instances of one node group."""

    group_name: str
    skip_checks: tuple[str, ...] = ()
    error_codes: bool = False
    ignore_errors: tuple[str, ...] = ()
    verbose: bool = False
    debug_simulate_errors: bool = False
    verify_clutter: bool = False


@operation(
    cli=Cli(tool="gnt-cluster", verb="modify", needs_option=True),
    rest=Rest(method="PUT", path="/2/modify"),
    hooks="cluster-modify",
    object_type="CLUSTER",
)
class OpClusterSetParams(OpCode, frozen=True, tag="OP_CLUSTER_SET_PARAMS"):
    """Change settings of the cluster; what is not given stays."""

    force: Annotated[bool, opt("-f", "--force", help="go on in spite of warnings")] = False
    enabled_hypervisors: Annotated[
        tuple[str, ...] | None,
        opt("--enabled-hypervisors", help="replaces the list; the first is the default", parse=Parse.LIST),
    ] = None
    enabled_disk_templates: Annotated[
        tuple[str, ...] | None, opt("--enabled-disk-templates", help="replaces the list", parse=Parse.LIST)
    ] = None
    hvparams: Annotated[
        dict[str, Params] | None,
        opt("-H", "--hypervisor-parameters", help="defaults of a hypervisor", parse=Parse.IDENT_KEYVAL),
    ] = None
    beparams: Annotated[
        Params | None, opt("-B", "--backend-parameters", help="back-end defaults", parse=Parse.KEYVAL)
    ] = None
    candidate_pool_size: Annotated[
        int | None, opt("-C", "--candidate-pool-size", help="wanted number of master candidates")
    ] = None
    max_running_jobs: Annotated[int | None, opt("--max-running-jobs", help="jobs that may run at once")] = None
    max_tracked_jobs: Annotated[int | None, opt("--max-tracked-jobs", help="jobs followed closely")] = None


@operation(
    cli=Cli(tool="gnt-cluster", verb="redist-conf", when_drained=True),
    rest=Rest(method="PUT", path="/2/redistribute-config"),
)
class OpClusterRedistConf(OpCode, frozen=True, tag="OP_CLUSTER_REDIST_CONF"):
    """Send the ssconf files and the trust file to every node again."""
