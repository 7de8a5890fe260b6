"""What clients may know of the cluster as a whole."""

from __future__ import annotations

from typing import Any

from ganeti import settings
from ganeti.hypervisor import parameters
from ganeti.master.filler import parameters_for
from ganeti.model import diskparams, params, policy, ssh
from ganeti.model.config import Config
from ganeti.model.jobs import Flags
from ganeti.query import versions

# Any: JSON for clients.


def describe(config: Config) -> dict[str, Any]:
    """All keys that existing clients read; what the product does not have is empty, null or false."""
    cluster = config.cluster
    return _facts(config) | {
        "hvparams": {hv: parameters_for(config, hv, "", {}) for hv in parameters.HYPERVISORS},
        "os_hvp": cluster.os_hvp,
        "beparams": {"default": params.filled_be(config, {})},
        "osparams": cluster.osparams,
        "ipolicy": {**policy.builtin(), **cluster.ipolicy},
        "nicparams": {"default": params.filled_nic(config, {})},
        "ndparams": {**params.defaults(params.NODE), **cluster.ndparams},
        "diskparams": diskparams.of_cluster(config),
        "uid_pool": [list(pair) for pair in cluster.uid_pool],
        "default_iallocator": cluster.default_iallocator,
        "default_iallocator_params": cluster.default_iallocator_params,
        "reserved_lvs": list(cluster.reserved_lvs),
        "hidden_os": list(cluster.hidden_os),
        "blacklisted_os": list(cluster.blacklisted_os),
        "prealloc_wipe_disks": cluster.prealloc_wipe_disks,
        "lvm_self_repair": cluster.lvm_self_repair,
        "lvm_self_repaired": cluster.lvm_self_repaired,
        "use_external_mip_script": cluster.use_external_mip_script,
        "drbd_usermode_helper": cluster.drbd_usermode_helper,
        "hv_state": cluster.hv_state_static,
        "disk_state": cluster.disk_state_static,
        "gluster_storage_dir": "",
        "install_image": cluster.install_image,
        "instance_communication_network": "",
        "zeroing_image": "",
        "compression_tools": list(cluster.compression_tools),
        "enabled_data_collectors": {},
        "data_collector_interval": {},
    }


def _facts(config: Config) -> dict[str, Any]:
    cluster = config.cluster
    key_type, key_bits = ssh.settings(cluster)
    return {
        "software_version": settings.VERSION,
        "protocol_version": versions.PROTOCOL,
        "config_version": versions.CONFIG,
        "os_api_version": versions.OS_API,
        "export_version": versions.EXPORT,
        "vcs_version": settings.VERSION,
        "architecture": versions.architecture(),
        "name": cluster.name,
        "master": config.master.name,
        "default_hypervisor": cluster.enabled_hypervisors[0],
        "enabled_hypervisors": list(cluster.enabled_hypervisors),
        "candidate_pool_size": cluster.candidate_pool_size,
        "max_running_jobs": cluster.max_running_jobs,
        "max_tracked_jobs": cluster.max_tracked_jobs,
        "mac_prefix": cluster.mac_prefix,
        "master_netdev": cluster.master_netdev,
        "master_netmask": cluster.master_netmask,
        "volume_group_name": cluster.volume_group_name or None,
        "file_storage_dir": cluster.file_storage_dir,
        "shared_file_storage_dir": cluster.shared_file_storage_dir,
        "maintain_node_health": cluster.maintain_node_health,
        "ctime": cluster.ctime,
        "mtime": cluster.mtime,
        "uuid": cluster.uuid,
        "serial_no": cluster.serial_no,
        "tags": sorted(cluster.tags),
        "primary_ip_version": 4 if cluster.primary_ip_family == 2 else 6,
        "enabled_disk_templates": [template.value for template in cluster.enabled_disk_templates],
        "enabled_user_shutdown": cluster.enabled_user_shutdown,
        "modify_ssh_setup": cluster.modify_ssh_setup,
        "ssh_key_type": key_type,
        "ssh_key_bits": key_bits,
    }


def config_values(config: Config, flags: Flags) -> dict[str, Any]:
    key_type, key_bits = ssh.settings(config.cluster)
    return {
        "cluster_name": config.cluster.name,
        "master_node": config.master.name,
        "drain_flag": flags.drained,
        "watcher_pause": flags.watcher_pause,
        "volume_group_name": config.cluster.volume_group_name or None,
        "maintain_node_health": config.cluster.maintain_node_health,
        "modify_ssh_setup": config.cluster.modify_ssh_setup,
        "ssh_key_type": key_type,
        "ssh_key_bits": key_bits,
    }
