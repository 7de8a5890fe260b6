"""Importing this module registers every logical unit."""

from ganeti.logic import (  # noqa: F401 - each registers its units and resolvers
    cluster_destroy,
    cluster_redist_conf,
    cluster_repair_disk_sizes,
    cluster_set_params,
    cluster_verify,
    cluster_verify_disks,
    cluster_verify_group,
    group_assign_nodes,
    group_names,
    group_settings,
    instance_console,
    instance_create,
    instance_failover,
    instance_migrate,
    instance_query_data,
    instance_reboot,
    instance_reinstall,
    instance_remove,
    instance_rename,
    instance_set_params,
    instance_shutdown,
    instance_startup,
    network_connect,
    network_names,
    network_settings,
    node_add,
    node_remove,
    node_set_params,
    os_diagnose,
    query,
    tags,
    test_delay,
)
from ganeti.logic.base import RESOLVERS, UNITS

__all__ = ["RESOLVERS", "UNITS"]
