"""Makes a new cluster of a classic config.data file: `gnt-cluster import-config`, `tools/cfgupgrade`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ganeti import errors, paths
from ganeti.bootstrap import daemons
from ganeti.bootstrap.checks import check_not_a_member
from ganeti.bootstrap.init import write_first_node
from ganeti.bootstrap.membership import make_storage_directories, remove_everything
from ganeti.host import faults, files, net, regular, tls
from ganeti.hypervisor import parameters
from ganeti.logic.findings import Findings
from ganeti.logic.verify_config import check_config
from ganeti.master import job_filters
from ganeti.model import classic_read
from ganeti.model.config import Config
from ganeti.model.jobs import FilterRule
from ganeti.model.objects import AnyObject, Node
from ganeti.model.types import Uuid
from ganeti.paths import Paths
from ganeti.store.api import Note
from ganeti.wire import codec

MAX_BYTES = 1 << 30
NOW_START = "Now start the daemons on this host: ganeti-daemons start."
BEFORE_MARK = faults.register("import.before_mark")
AFTER_MARK = faults.register("import.after_mark")
BEFORE_CARRY = faults.register("import.before_carry")
AFTER_CARRY = faults.register("import.after_carry")
IMPORTED = faults.register("import.done")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration as it will be, but for certificates, and what to tell."""

    config: Config
    rules: tuple[FilterRule, ...]
    lines: tuple[str, ...]


def read_document(path: str) -> object:
    """Raises PrereqError."""
    try:
        untrusted = regular.read_argument(path, max_bytes=MAX_BYTES + 1)
    except OSError as err:
        raise errors.PrereqError("environment_error", f"cannot read {path}: {err.strerror}") from err
    if len(untrusted) > MAX_BYTES:
        raise errors.PrereqError("wrong_input", f"{path} is longer than {MAX_BYTES} bytes")
    try:
        document: object = codec.loads(untrusted)
    except codec.CodecError as err:
        raise errors.PrereqError(
            "wrong_input", f"{path} is not JSON: {err}", hint="a config.data file or an export of one is wanted"
        ) from err
    return document


def plan(untrusted: object, *, new_uuid: Callable[[], Uuid]) -> Plan:
    """Pure. Raises PrereqError that names the place in the document."""
    builtin = {name: parameters.defaults(name) for name in parameters.HYPERVISORS}
    found = classic_read.read(untrusted, builtin=builtin, new_uuid=new_uuid)
    config = Config.load(_adapted(found.config))
    rules = tuple(_rules(found.rules))
    return Plan(config=config, rules=rules, lines=tuple(_lines(found.config, config, found.notes, len(rules))))


def _rules(raw_rules: tuple[dict[str, Any], ...]) -> Iterator[FilterRule]:  # Any: JSON, of the right types
    for raw in raw_rules:
        try:
            yield job_filters.checked(
                raw["uuid"],
                priority=raw["priority"],
                predicates=raw["predicates"],
                action=raw["action"],
                reason=raw["reason_trail"],
                watermark=raw["watermark"],
            )
        except errors.PrereqError as err:
            place = f"$.filters[{raw['uuid']!r}]"
            raise errors.PrereqError("wrong_input", f"the configuration is wrong at {place}: {err.message}") from err


def _adapted(config: Config) -> Iterator[AnyObject]:
    """Only the master has credentials of the new cluster."""
    for obj in config.objects():
        if not isinstance(obj, Node):
            yield obj
            continue
        is_master = obj.uuid == config.cluster.master_node
        yield msgspec.structs.replace(
            obj,
            certificate_digest="",
            master_candidate=is_master,
            offline=not is_master,
            drained=False,
            master_capable=is_master or obj.master_capable,
        )


def _lines(before: Config, after: Config, notes: tuple[str, ...], rules: int) -> Iterator[str]:
    counts = Counter(obj.kind for obj in after.objects()) + Counter({"rule": rules})
    words = {
        "node": "nodes",
        "group": "groups",
        "network": "networks",
        "instance": "instances",
        "disk": "detached disks",
        "rule": "job filters",
    }
    what = ", ".join(f"{counts[kind]} {word}" for kind, word in words.items() if counts[kind])
    yield f"Cluster {after.cluster.name}, master {after.master.name}: {what}"
    yield from (f"  - {note}" for note in notes)
    others = sorted(node.name for node in after.nodes.values() if node.offline)
    if others:
        yield f"  - marked offline until they are added again: {', '.join(others)}"
    found = Findings(simulate=False, ignore=frozenset())
    for _ in check_config(before, found):
        continue
    for finding in found.take():
        if finding.code != "ECLUSTERCLIENTCERT":  # certificates are made anew
            yield f"  - {'warning' if finding.is_warning else 'ERROR'}: {finding.item} {finding.text}".replace(
                "  ", " "
            )


def check_host(config: Config, where: Paths) -> None:
    """This host is the master that the document names, and is free. Raises PrereqError."""
    for daemon in (daemons.MASTERD, daemons.CONFD, daemons.NODED):
        if daemons.is_running(where, daemon):
            raise errors.PrereqError("wrong_state", f"{daemon} runs on this host", hint="end its cluster or stop it")
    check_not_a_member(where)
    master, own = config.master, net.own_name(where)
    if own.lower() != master.name.lower() and not master.name.lower().startswith(own.lower() + "."):
        raise errors.PrereqError(
            "wrong_state",
            f"the master in the file is {master.name}, this host is {own}",
            hint=f"run it on {master.name}, or change cluster.master_node in the file",
        )
    if not net.is_own(master.primary_ip):
        raise errors.PrereqError(
            "environment_error", f"the address of the master in the file, {master.primary_ip}, is not one of this host"
        )


def import_file(
    path: str,
    where: Paths,
    *,
    now: float,
    new_uuid: Callable[[], Uuid],
    dry_run: bool,
    last_job: int = 0,
    also: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Check all, then make the cluster's files. Returns what was done, as lines. May be repeated after a failure.

    Numbers of jobs go on after `last_job`. `also` makes what else belongs to the cluster.

    Raises PrereqError before anything was changed; StoreError, OSError after that.
    """
    wanted = plan(read_document(path), new_uuid=new_uuid)
    check_host(wanted.config, where)
    if dry_run:
        return (*wanted.lines, "Nothing was changed.")
    files.make_directory(where, paths.DATA_DIR)
    with files.locked(where.local(paths.INIT_MARK) + ".lock"):
        if os.path.exists(where.local(paths.INIT_MARK)):
            remove_everything(where)
        check_not_a_member(where)
        faults.hit(BEFORE_MARK)
        files.write(where, paths.INIT_MARK, wanted.config.cluster.name.encode() + b"\n")
        faults.hit(AFTER_MARK)
        _install(wanted, where, now=now, source=path, last_job=last_job)
        faults.hit(BEFORE_CARRY)
        also()
        faults.hit(AFTER_CARRY)
        os.unlink(where.local(paths.INIT_MARK))
        faults.hit(IMPORTED)
        files.sync_directory(os.path.dirname(where.local(paths.INIT_MARK)))
    return (*wanted.lines, NOW_START)


def _install(wanted: Plan, where: Paths, *, now: float, source: str, last_job: int) -> None:
    config = wanted.config
    for directory in paths.DIRECTORIES:
        files.make_directory(where, directory)
    cluster, master = config.cluster, config.master
    make_storage_directories(where, (cluster.file_storage_dir, cluster.shared_file_storage_dir))
    authority = tls.make_authority(cluster.name, now=now)
    own = tls.make_node(authority, name=master.name, uuid=master.uuid, address=master.primary_ip, now=now)
    changed: dict[Uuid, AnyObject] = {
        cluster.uuid: msgspec.structs.replace(cluster, ca_certificate=authority.certificate),
        master.uuid: msgspec.structs.replace(master, certificate_digest=tls.digest(own.certificate)),
    }
    write_first_node(
        where,
        [changed.get(obj.uuid, obj) for obj in config.objects()],
        authority=authority,
        own=own,
        now=now,
        note=Note(actor="gnt-cluster import-config", reason=os.path.basename(source)),
        last_job=last_job,
        rules=wanted.rules,
    )
