"""What a check of the cluster wants to know of a node."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from ganeti import errors, paths, settings
from ganeti.calls.node import NodeVerify, VerifyReply
from ganeti.calls.store import StateReply, StoreState
from ganeti.host import files, net, partition, tls
from ganeti.node import helper, iallocator, inventory, verify_files, verify_host
from ganeti.node.base import HANDLERS, Context, NodeEnv, handles
from ganeti.rpc.identity import Identity
from ganeti.rpc.trust import TrustFile

log = logging.getLogger(__name__)

_READABLE = (settings.DATA_DIR, settings.CONFIG_DIR)
_REACH_S = 3.0
#: told of one node: a directory may be full of what somebody keeps there
MAX_STRAYS = 20
_REACH_THREADS = 16


@handles(NodeVerify)
def verify(call: NodeVerify, env: NodeEnv, context: Context) -> VerifyReply:
    state = _state(env, context)
    bundle = files.read_text(env.paths.local(paths.NODE_CERT))
    authority = files.read_text(env.paths.local(paths.CA_CERT))
    minors, drbd_problem = _minors(call, env)
    strays = _strays(call.strays_of, call.volume_group, env)
    return VerifyReply(
        files=_hashes(call.files, env),
        hypervisors={name: _hypervisor(name, call, env) for name in call.hypervisors},
        storage={name: _storage(name, call.volume_group, env) for name in call.templates},
        unreachable=_unreachable(call.reach, env, source=env.service(Identity).address, needs_daemon=True),
        # node daemons listen on the primary network only: who refuses is there
        unreachable_secondary=_unreachable(call.reach_secondary, env, source=call.secondary_ip, needs_daemon=False),
        volumes=_volumes(call.templates, env),
        strays=strays[:MAX_STRAYS],
        strays_more=len(strays[MAX_STRAYS:]),
        origins=_origins(call.templates, env),
        leftovers=_leftovers(call.hypervisors, env),
        state_term=state.term,
        state_serial=state.serial,
        state_hash=state.hash,
        trust_serial=env.service(TrustFile).trust.serial,
        certificate_ends=tls.ends(bundle) if bundle else 0.0,
        authority_ends=tls.ends(authority) if authority else 0.0,
        too_open=verify_files.too_open(env.paths),
        missing_bridges=verify_host.missing_bridges(call.bridges, env.paths),
        missing_devices=verify_host.missing_devices(call.devices),
        missing_allocators=tuple(name for name in call.allocators if not iallocator.is_there(name, env.paths)),
        bad_programs=verify_host.bad_programs(call.programs, env.paths),
        distrusted=verify_host.distrusted(call.allocators, env.paths),
        bad_storage_paths=verify_host.bad_storage_paths(env.paths),
        minors=minors,
        drbd_problem=drbd_problem,
        drbd_version=verify_host.drbd_version() if call.mirrors else "",
        drbd_helper=verify_host.drbd_helper() if call.mirrors else "",
        helper_problem=helper.why_not(call.helper, env) if call.helper else "",
        pv_sizes=_pv_sizes(call, env),
    )


def _minors(call: NodeVerify, env: NodeEnv) -> tuple[tuple[int, ...], str]:
    """Those in use, and why they are not known."""
    if not call.mirrors:
        return (), ""
    try:
        return verify_host.minors(env), ""
    except errors.GanetiError as err:
        return (), str(err)


def _pv_sizes(call: NodeVerify, env: NodeEnv) -> tuple[float, ...]:
    if not call.physical_volumes:
        return ()
    try:
        return inventory.pv_sizes(env.runner, call.volume_group)
    except errors.StorageError as err:
        log.warning("%s", err)  # the check of the storage tells it
        return ()


def _state(env: NodeEnv, context: Context) -> StateReply:
    """A damaged copy counts as none: that is what the caller compares."""
    try:
        found: StateReply = HANDLERS[StoreState](StoreState(), env, context)
    except errors.StoreError as err:
        log.warning("%s", err)
        return StateReply(term=0, serial=0, hash="", promised_term=0, promised_to="", seen_term=0)
    return found


def _hashes(wanted: Iterable[str], env: NodeEnv) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in wanted:
        if not path.startswith(tuple(f"{directory}/" for directory in _READABLE)):
            raise errors.NodeFailure(f"{path!r} is none of this cluster's files")
        try:
            with open(env.paths.local(path), "rb") as file:
                found[path] = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            continue
        except ValueError as err:
            raise errors.NodeFailure(str(err)) from err
    return found


def _problem(question: Callable[[], str]) -> str:
    try:
        return question()
    except errors.GanetiError as err:
        return str(err)


def _hypervisor(name: str, call: NodeVerify, env: NodeEnv) -> str:
    driver = env.hypervisors.get(name)
    if driver is None:
        return "this node has no such hypervisor"
    return _problem(driver.verify) or _problem(lambda: driver.validate(call.hypervisors[name]))


def _storage(name: str, vg: str, env: NodeEnv) -> str:
    for template, driver in env.storage.items():
        if template.value == name:
            return _problem(functools.partial(driver.verify, vg=vg))
    return "this node has no such storage"


def _volumes(templates: Iterable[str], env: NodeEnv) -> tuple[str, ...]:
    wanted = set(templates)
    found: set[str] = set()
    for template, driver in env.storage.items():
        if template.value in wanted:
            try:
                found.update(driver.volumes())
            except errors.GanetiError as err:
                log.warning("volumes of %s: %s", template.value, err)
    return tuple(sorted(found))


def _strays(templates: Iterable[str], vg: str, env: NodeEnv) -> tuple[str, ...]:
    wanted = set(templates)
    found: set[str] = set()
    for template, driver in env.storage.items():
        if template.value in wanted:
            try:
                found.update(driver.strays(vg=vg))
            except errors.GanetiError as err:
                log.warning("strays of %s: %s", template.value, err)
    return tuple(sorted(found))


def _origins(templates: Iterable[str], env: NodeEnv) -> dict[str, str]:
    """What is not known of one is told with its volumes."""
    found: dict[str, str] = {}
    for template, driver in env.storage.items():
        if template.value in set(templates):
            with contextlib.suppress(errors.GanetiError):
                found |= driver.origins()
    return found


def _leftovers(hypervisors: Iterable[str], env: NodeEnv) -> tuple[str, ...]:
    found: list[str] = []
    for name in hypervisors:
        if name in env.hypervisors:
            try:
                found += env.hypervisors[name].leftovers()
            except errors.GanetiError as err:
                log.warning("leftovers of %s: %s", name, err)
    return tuple(found)


def _unreachable(reach: dict[str, str], env: NodeEnv, *, source: str, needs_daemon: bool) -> dict[str, str]:
    def why(item: tuple[str, str]) -> tuple[str, str]:
        name, address = item
        if partition.blocked(env.paths, address):
            return name, f"{address} is cut off"
        port = settings.NODED_PORT
        if net.answers(address, port, source=source, timeout_s=_REACH_S, live_if_refused=not needs_daemon):
            return name, ""
        return name, f"no {'node daemon' if needs_daemon else 'host'} answers at {address} port {port}"

    if not reach:
        return {}
    with ThreadPoolExecutor(_REACH_THREADS, "reach") as pool:
        return {name: problem for name, problem in pool.map(why, reach.items()) if problem}
