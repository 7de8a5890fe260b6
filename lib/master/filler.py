"""Complete parameters for queries: the layers above an object are merged once per snapshot."""

from __future__ import annotations

from ganeti.hypervisor import parameters
from ganeti.hypervisor.declare import Kind as HvKind
from ganeti.model import diskparams, params, policy
from ganeti.model.config import Config
from ganeti.model.objects import Group, Instance, Nic, Node, Params
from ganeti.query.fields import Kind

_HV_KINDS = {
    HvKind.TEXT: Kind.TEXT,
    HvKind.BOOL: Kind.BOOL,
    HvKind.INT: Kind.NUMBER,
    HvKind.SIZE: Kind.UNIT,
    HvKind.FLOAT: Kind.FLOAT,
}
_ND_KINDS = {
    params.Kind.TEXT: Kind.TEXT,
    params.Kind.BOOL: Kind.BOOL,
    params.Kind.INT: Kind.NUMBER,
    params.Kind.SIZE: Kind.UNIT,
    params.Kind.FLOAT: Kind.FLOAT,
}
#: headings that are not the field's name
_HV_TITLES = {
    "acpi": "ACPI",
    "boot_order": "Boot_order",
    "cdrom_image_path": "CDROM_image_path",
    "cpu_type": "cpu_type",
    "disk_type": "Disk_type",
    "initrd_path": "Initrd_path",
    "kernel_path": "Kernel_path",
    "nic_type": "NIC_type",
    "pae": "PAE",
    "pci_pass": "pci_pass",
    "vnc_bind_address": "VNC_bind_address",
}
_ND_TITLES = {
    "exclusive_storage": "ExclusiveStorage",
    "oob_program": "OutOfBandProgram",
    "ovs": "OpenvSwitch",
    "ovs_link": "OpenvSwitchLink",
    "ovs_name": "OpenvSwitchName",
    "spindle_count": "SpindleCount",
}


def hv_fields() -> list[tuple[str, Kind, str]]:
    """Name, kind and title of every hypervisor parameter that an instance can have."""
    found: dict[str, Kind] = {}
    for hypervisor in parameters.HYPERVISORS.values():
        for declared in hypervisor.parameters:
            if declared.name not in parameters.GLOBAL:
                found.setdefault(declared.name, _HV_KINDS[declared.kind])
    return [(name, kind, _HV_TITLES.get(name, f"hv/{name}")) for name, kind in found.items()]


def nd_fields() -> list[tuple[str, Kind, str]]:
    return [
        (name, _ND_KINDS[declared.kind], _ND_TITLES.get(name, f"ndp/{name}")) for name, declared in params.NODE.items()
    ]


class Filler:
    """Implements `query.view.Filler` for one snapshot."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._be = params.filled_be(config, {})
        self._nic = params.filled_nic(config, {})
        self._hv: dict[tuple[str, str], Params] = {}
        self._os: dict[str, Params] = {}

    def complete_hv(self, instance: Instance) -> Params:
        """With the global ones, as drivers want them."""
        return parameters_for(self._config, instance.hypervisor, instance.os, instance.hvparams)

    def hv(self, instance: Instance) -> Params:
        key = (instance.hypervisor, instance.os)
        base = self._hv.get(key)
        if base is None:
            complete = parameters_for(self._config, *key, {})
            base = {name: value for name, value in complete.items() if name not in parameters.GLOBAL}
            self._hv[key] = base
        return {**base, **instance.hvparams}

    def be(self, instance: Instance) -> Params:
        return {**self._be, **instance.beparams}

    def os(self, instance: Instance) -> Params:
        base = self._os.get(instance.os)
        if base is None:
            base = self._os[instance.os] = params.filled_os(self._config, instance.os, {})
        return {**base, **instance.osparams}

    def nic(self, instance: Instance, nic: Nic) -> Params:
        if nic.network is None:
            return {**self._nic, **nic.params}
        group = self._config.nodes[instance.primary_node].group
        return {**self._nic, **params.of_connection(self._config, nic, group), **nic.params}

    def nd(self, node: Node) -> Params:
        return params.filled_nd(self._config, node)

    def group_nd(self, group: Group) -> Params:
        return {**params.defaults(params.NODE), **self._config.cluster.ndparams, **group.ndparams}

    def group_disk(self, group: Group) -> dict[str, Params]:
        return {
            name: {**of_cluster, **group.diskparams.get(name, {})}
            for name, of_cluster in diskparams.of_cluster(self._config).items()
        }

    def group_ipolicy(self, group: Group) -> Params:
        return policy.filled(self._config, group.uuid)


def parameters_for(config: Config, hypervisor: str, os: str, overrides: Params) -> Params:
    """Complete hypervisor parameters, global ones included. Empty for a hypervisor that is not known any more."""
    known = hypervisor in parameters.HYPERVISORS
    return params.filled_hv(
        config, parameters.defaults(hypervisor) if known else {}, hypervisor=hypervisor, os=os, overrides=overrides
    )
