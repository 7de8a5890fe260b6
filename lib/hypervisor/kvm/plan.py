"""From an instance to what is started on this node."""

from __future__ import annotations

from ganeti import errors
from ganeti import paths as account_table
from ganeti.calls.instance import GuestSpec
from ganeti.host import files
from ganeti.host.run import Runner
from ganeti.hypervisor import linux
from ganeti.hypervisor.kvm import accelerator, checks, commands, pinning
from ganeti.hypervisor.kvm.runtime import Layout, Runtime
from ganeti.model import ranges
from ganeti.model.objects import DiskMode, Params
from ganeti.paths import Paths


def plan(
    spec: GuestSpec,
    disk_paths: tuple[str, ...],
    *,
    paths: Paths,
    layout: Layout,
    runner: Runner,
    pinned: Params | None = None,
    slots: dict[str, int] | None = None,
) -> Runtime:
    """Its run-time file, see `machine_and_runtime`."""
    _, runtime = machine_and_runtime(
        spec, disk_paths, paths=paths, layout=layout, runner=runner, pinned=pinned, slots=slots
    )
    return runtime


def machine_and_runtime(
    spec: GuestSpec,
    disk_paths: tuple[str, ...],
    *,
    paths: Paths,
    layout: Layout,
    runner: Runner,
    pinned: Params | None = None,
    slots: dict[str, int] | None = None,
    accelerator_used: str = "",
) -> tuple[commands.Machine, Runtime]:
    """What is started, and its run-time file. Writes the scripts of its network cards.

    Raises HypervisorError when the node cannot.

    `pinned`: hypervisor parameters for this emulator only, so that it is like the one that the guest comes from;
    `slots`: PCI slots that its devices have there; `accelerator_used`: it runs already, with this one.
    """
    instance = spec.instance
    hvparams = spec.hvparams | (pinned or {})
    problem = checks.validate(hvparams, paths, runner)
    if problem:
        raise errors.HypervisorError(f"instance {instance.name} cannot be started: {problem}")
    hv = checks.with_usable_vhost(checks.local_files(hvparams, paths))
    pinning.check_count(str(hv["cpu_mask"]), int(spec.beparams["vcpus"]))
    chosen = accelerator_used or accelerator.choose(str(hv["kvm_flag"]), str(hv["kvm_path"]), layout.base, runner)
    account, jail = _account(spec, paths, layout), layout.jail(instance.name) if hv["use_chroot"] else ""
    version = checks.version(str(hv["kvm_path"]), runner) if account or jail else None
    machine = commands.Machine(
        name=instance.name,
        uuid=instance.uuid,
        memory=int(spec.beparams["maxmem"]),
        vcpus=int(spec.beparams["vcpus"]),
        accelerator=chosen,
        hvparams=hv,
        files=layout.files(instance.name),
        drives=_drives(spec, disk_paths, paths),
        cards=_cards(spec, paths, layout),
        port=instance.network_port or 0,
        slots=slots or {},
        account=account,
        jail=jail,
        version=version or (0, 0, 0),
    )
    return machine, Runtime(
        name=instance.name,
        uuid=instance.uuid,
        argv=commands.qemu(machine),
        accelerator=chosen,
        memory=machine.memory,
        vcpus=machine.vcpus,
        has_acpi=bool(hv["acpi"]),
        hvparams=spec.hvparams,
        root=paths.root,
        boot_id=linux.boot_id(),
        spec=spec,
        disk_paths=disk_paths,
        pinned=pinned or {},
        slots=commands.slots(machine),
    )


def _account(spec: GuestSpec, paths: Paths, layout: Layout) -> str:
    """That the emulator runs as; one of the pool is the guest's until its files are removed."""
    model = spec.hvparams["security_model"]
    if model == "user":
        return str(spec.hvparams["security_domain"])
    if model == "pool":
        text = files.read_text(paths.local(account_table.ssconf("uid_pool"))) or ""
        pool = ranges.parse(text.replace("\n", ","))
        uid = layout.accounts.claim(spec.instance.name, ranges.ids(pool))
        return f"{uid}:{uid}"
    return ""


def _drives(spec: GuestSpec, disk_paths: tuple[str, ...], paths: Paths) -> tuple[commands.Drive, ...]:
    return tuple(
        commands.Drive(
            uuid=disk.uuid,
            path=path if path.startswith("/dev/") else paths.local(path),
            is_device=path.startswith("/dev/"),
            read_only=disk.mode is DiskMode.RO,
        )
        for disk, path in zip(spec.instance.disks, disk_paths, strict=True)
    )


def _cards(spec: GuestSpec, paths: Paths, layout: Layout) -> tuple[commands.Card, ...]:
    cards = []
    for index, (nic, params) in enumerate(zip(spec.instance.nics, spec.nicparams, strict=True)):
        if paths.is_virtual:
            # interfaces of the host need root, and a virtual node has none of its own
            cards.append(commands.Card(uuid=nic.uuid, mac=nic.mac, network=commands.Network.USER))
            continue
        script = layout.tap_script(spec.instance.name, index)
        network = next((each.environment() for each in spec.networks if each.uuid == nic.network), {})
        link = str(params.get("link") or "")
        environment = {
            "INSTANCE": spec.instance.name,
            "MAC": nic.mac,
            "MODE": str(params.get("mode") or ""),
            "LINK": link,
            "VLAN": str(params.get("vlan") or ""),
            "INTERFACE_INDEX": str(index),
            "INTERFACE_UUID": nic.uuid,
            "TAGS": " ".join(spec.instance.tags),
            **({"IP": nic.ip} if nic.ip else {}),
            **({"BRIDGE": link} if params.get("mode") == "bridged" else {}),
            **{f"NETWORK_{name}": value for name, value in network.items()},
        }
        text = commands.tap_script(environment, checks.VIF_SCRIPT)
        files.write_atomic(script, text.encode(), mode=0o755, durable=False)
        cards.append(commands.Card(uuid=nic.uuid, mac=nic.mac, network=commands.Network.TAP, script=script))
    return tuple(cards)
