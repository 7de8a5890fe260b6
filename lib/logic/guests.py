"""Instances with everything filled in: parameters by level, and the spec that drivers and scripts get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestSpec
from ganeti.hypervisor import parameters
from ganeti.model import params, policy
from ganeti.model.config import Config
from ganeti.model.objects import Instance, Network, Nic, Params
from ganeti.ops.hidden import REDACTED


def parse_hv(hypervisor: str, untrusted: Mapping[str, Any], *, for_cluster: bool = False) -> Params:
    """Typed overrides, None where one shall go. Raises PrereqError(wrong_input)."""
    if not for_cluster:
        only_cluster = sorted(parameters.GLOBAL.intersection(untrusted))
        if only_cluster:
            raise errors.PrereqError(
                "wrong_input",
                "an instance cannot have its own " + ", ".join(only_cluster),
                hint="set it for the whole cluster with gnt-cluster modify",
            )
    try:
        return parameters.parse(hypervisor, untrusted)
    except (errors.ParameterError, errors.TypeEnforcementError, errors.UnitParseError) as err:
        raise errors.PrereqError("wrong_input", str(err)) from err


def hvparams(config: Config, instance: Instance, temporary: Params | None = None) -> Params:
    return params.filled_hv(
        config,
        parameters.defaults(instance.hypervisor),
        hypervisor=instance.hypervisor,
        os=instance.os,
        overrides=instance.hvparams,
        temporary=temporary,
    )


def cluster_hvparams(config: Config, hypervisor: str) -> Params:
    """Complete parameters of a hypervisor without any instance."""
    return params.filled_hv(config, parameters.defaults(hypervisor), hypervisor=hypervisor, os="", overrides={})


def beparams(config: Config, instance: Instance, temporary: Params | None = None) -> Params:
    return params.filled_be(config, instance.beparams, temporary)


def nicparams(config: Config, instance: Instance) -> tuple[Params, ...]:
    return tuple(nic_params(config, instance, nic) for nic in instance.nics)


def nic_params(config: Config, instance: Instance, nic: Nic) -> Params:
    """Complete: a network decides by the node group that the instance is in."""
    node = config.nodes.get(instance.primary_node)
    return params.filled_nic(config, nic.params, params.of_connection(config, nic, node.group if node else None))


def networks(config: Config, instance: Instance) -> tuple[Network, ...]:
    """That its NICs are on."""
    uuids = dict.fromkeys(nic.network for nic in instance.nics if nic.network is not None)
    return tuple(config.networks[uuid] for uuid in uuids if uuid in config.networks)


def guest_spec(config: Config, instance: Instance, *, hv: Params | None = None, be: Params | None = None) -> GuestSpec:
    """`hv` and `be` are for this start only. Without private OS parameters: only scripts get them."""
    return GuestSpec(
        instance=msgspec.structs.replace(instance, osparams_private={}),
        hvparams=hvparams(config, instance, hv),
        beparams=beparams(config, instance, be),
        nicparams=nicparams(config, instance),
        networks=networks(config, instance),
        osparams=params.filled_os(config, instance.os, instance.osparams),
        primary_name=config.nodes[instance.primary_node].name,
        secondary_names=tuple(config.nodes[node].name for node in instance.secondary_nodes),
    )


def script_spec(config: Config, instance: Instance, *, once: Params | None = None) -> GuestSpec:
    """For an OS script: with the private parameters, and with those that are for this run only.

    To be used in calls, never in what takes them back: that is stored. Raises PrereqError.
    """
    spec = guest_spec(config, instance)
    return msgspec.structs.replace(spec, osparams=osparams(config, instance, once=once))


def osparams(config: Config, instance: Instance, *, once: Params | None = None) -> Params:
    """Complete, private ones too. Raises PrereqError when the value of one is lost."""
    shown = params.filled_os(config, instance.os, instance.osparams)
    private = params.filled_private_os(config, instance.os, instance.osparams_private)
    complete = {**shown, **private, **(once or {})}
    lost = sorted(name for name, value in complete.items() if value == REDACTED)
    if lost:
        raise errors.PrereqError(
            "wrong_state",
            f"the value of the private OS parameter {lost[0]!r} is lost",
            hint="set it again with --os-parameters-private",
        )
    return complete


def sizes(config: Config, instance: Instance) -> policy.Sizes:
    be = beparams(config, instance)
    return policy.Sizes(
        template=instance.disk_template,
        templates=tuple(sorted({disk.template.value for disk in instance.disks})),
        memory=be["maxmem"],
        vcpus=be["vcpus"],
        disks=tuple(disk.size for disk in instance.disks),
        nics=len(instance.nics),
        spindle_use=be["spindle_use"],
    )


def policy_violations(config: Config, instance: Instance) -> list[str]:
    group = config.nodes[instance.primary_node].group
    return list(policy.violations(policy.filled(config, group), sizes(config, instance)))
