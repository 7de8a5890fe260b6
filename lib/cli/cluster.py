"""gnt-cluster: the commands that are not one operation and need a master."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ganeti import errors, settings
from ganeti.cli import blocks, tables
from ganeti.cli.blocks import Block
from ganeti.host import files
from ganeti.model import ranges
from ganeti.ops.verbs import Argument, Call, Session, flag, verb
from ganeti.wire import codec


@verb("gnt-cluster", "version")
def version(session: Session, call: Call) -> int:
    """Show the versions of the software and of its interfaces."""
    facts = session.call("QueryClusterInfo")
    for title, key in _VERSIONS:
        session.out(f"{title}: {facts.get(key)}")
    return 0


_VERSIONS = (
    ("Software version", "software_version"),
    ("Internode protocol", "protocol_version"),
    ("Configuration format", "config_version"),
    ("OS api version", "os_api_version"),
    ("Export interface", "export_version"),
    ("VCS version", "vcs_version"),
)


@verb("gnt-cluster", "queue", arguments=(Argument(name="action", choices=("drain", "undrain", "info")),))
def queue(session: Session, call: Call) -> int:
    """Close the job queue for new jobs (drain), open it again (undrain), or tell which it is (info)."""
    action = call.arguments[0]
    if action == "info":
        (is_drained,) = session.call("QueryConfigValues", ["drain_flag"])
        session.out(f"The drain flag is {'set' if is_drained else 'unset'}")
    else:
        session.call("SetDrainFlag", action == "drain")
    return 0


@verb("gnt-cluster", "info", aliases=("show",))
def info(session: Session, call: Call) -> int:
    """Show the settings of the cluster."""
    session.out(blocks.render(_block(session.call("QueryClusterInfo"))).removesuffix("\n"))
    return 0


@verb(
    "gnt-cluster",
    "export-config",
    arguments=(Argument(name="file", least=0, completes="file"),),
    options=(
        flag("with_secrets", "--with-secrets", help="private parameters and secrets of mirrors too, as a backup needs"),
    ),
)
def export_config(session: Session, call: Call) -> int:
    """Write the configuration as a classic config.data file, or to standard output.

    It is JSON of version 3.0, for programs that read such files and, with --with-secrets, as a backup: gnt-cluster
    import-config makes a new cluster of it. The file is readable by its owner only. Jobs are not in it.
    """
    document = session.call("ExportConfig", *([True] if call.given("with_secrets") else []))
    if not call.arguments:
        session.out(codec.dumps(document))
        return 0
    path = os.path.abspath(call.arguments[0])
    try:
        files.write_atomic(path, codec.encode(document) + b"\n", mode=0o600)
    except OSError as err:
        raise errors.PrereqError("environment_error", f"cannot write {path}: {err.strerror}") from err
    return 0


#: settings that are shown as they are, in order
_CLUSTER_PARAMETERS = (
    ("candidate pool size", "candidate_pool_size"),
    ("maximal number of jobs running simultaneously", "max_running_jobs"),
    ("maximal number of jobs simultaneously tracked by the scheduler", "max_tracked_jobs"),
    ("mac prefix", "mac_prefix"),
    ("master netdev", "master_netdev"),
    ("master netmask", "master_netmask"),
    ("use external master IP address setup script", "use_external_mip_script"),
    ("lvm volume group", "volume_group_name"),
    ("lvm reserved volumes", "reserved_lvs"),
    ("lvm self-repair", "lvm_self_repair"),
    ("lvm self-repair was used up by", "lvm_self_repaired"),
    ("drbd usermode helper", "drbd_usermode_helper"),
    ("file storage path", "file_storage_dir"),
    ("shared file storage path", "shared_file_storage_dir"),
    ("gluster storage path", "gluster_storage_dir"),
    ("maintenance of node health", "maintain_node_health"),
    ("uid pool", "uid_pool"),
    ("default instance allocator", "default_iallocator"),
    ("default instance allocator parameters", "default_iallocator_params"),
    ("primary ip version", "primary_ip_version"),
    ("preallocation wipe disks", "prealloc_wipe_disks"),
    ("enabled disk templates", "enabled_disk_templates"),
    ("install image", "install_image"),
    ("instance communication network", "instance_communication_network"),
    ("zeroing image", "zeroing_image"),
    ("compression tools", "compression_tools"),
    ("enabled user shutdown", "enabled_user_shutdown"),
    ("modify ssh setup", "modify_ssh_setup"),
    ("ssh_key_type", "ssh_key_type"),
    ("ssh_key_bits", "ssh_key_bits"),
)


def _block(facts: dict[str, Any]) -> Block:  # Any: JSON of QueryClusterInfo
    architecture = facts.get("architecture") or ["", ""]
    pool = ranges.text([(pair[0], pair[1]) for pair in facts.get("uid_pool") or ()])
    facts = {**facts, "uid_pool": pool}
    parameters = [(title, _flat(facts.get(key))) for title, key in _CLUSTER_PARAMETERS]
    after = 1 + [title for title, _ in parameters].index("preallocation wipe disks")
    parameters.insert(after, ("OS search path", _flat(list(settings.OS_SEARCH_PATH))))
    return Block(
        (
            ("Cluster name", facts["name"]),
            ("Cluster UUID", facts.get("uuid")),
            ("Creation time", tables.moment(facts["ctime"]) if facts.get("ctime") else ""),
            ("Modification time", tables.moment(facts["mtime"]) if facts.get("mtime") else ""),
            ("Master node", facts.get("master")),
            ("Architecture (this node)", f"{architecture[0]} ({architecture[1]})"),
            ("Tags", ", ".join(sorted(facts.get("tags") or ())) or "(none)"),
            ("Default hypervisor", facts.get("default_hypervisor")),
            ("Enabled hypervisors", ", ".join(facts.get("enabled_hypervisors") or ())),
            ("Hypervisor parameters", _enabled_only(facts)),
            ("OS-specific hypervisor parameters", facts.get("os_hvp")),
            ("OS parameters", facts.get("osparams")),
            ("Hidden OSes", ", ".join(facts.get("hidden_os") or ())),
            ("Blacklisted OSes", ", ".join(facts.get("blacklisted_os") or ())),
            ("Cluster parameters", Block(tuple(parameters))),
            ("Default node parameters", facts.get("ndparams")),
            ("Default instance parameters", facts.get("beparams")),
            ("Default nic parameters", facts.get("nicparams")),
            ("Default disk parameters", facts.get("diskparams")),
            ("Instance policy - limits for instances", _policy(facts.get("ipolicy") or {})),
        )
    )


def _flat(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return value


def _enabled_only(facts: Mapping[str, Any]) -> dict[str, Any]:
    enabled = facts.get("enabled_hypervisors") or ()
    return {name: values for name, values in (facts.get("hvparams") or {}).items() if name in enabled}


def _policy(policy: Mapping[str, Any]) -> Block:
    bounds = [
        Block(((f"{bound}/{index}", limits[bound]),))
        for index, limits in enumerate(policy.get("minmax") or ())
        for bound in ("min", "max")
    ]
    return Block(
        (
            ("bounds specs", bounds),
            ("std", policy.get("std")),
            ("allowed disk templates", _flat(policy.get("disk-templates"))),
            ("vcpu-ratio", policy.get("vcpu-ratio")),
            ("spindle-ratio", policy.get("spindle-ratio")),
        )
    )
