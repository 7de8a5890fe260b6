"""Handlers of calls about storage that was there before the cluster knew of it."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.adoption import Candidate, CandidatesLook, VolumeAdopt, VolumeGiveBack
from ganeti.calls.volume import VolumeReply
from ganeti.model.objects import DiskTemplate
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.node.volumes import storage_of
from ganeti.storage.base import Adoption


def _adoption_of(template: DiskTemplate, env: NodeEnv) -> Adoption:
    """Raises NodeFailure for a template whose disks are always made."""
    storage = env.storage.get(template)
    if storage is None or storage.adoption is None:
        raise errors.NodeFailure(f"nothing can be adopted as a disk of template {template.value}")
    return storage.adoption


@handles(CandidatesLook)
def look(call: CandidatesLook, env: NodeEnv, context: Context) -> tuple[Candidate, ...]:
    return _adoption_of(call.template, env).look(call.logical_ids, call.known)


@handles(VolumeAdopt)
def adopt(call: VolumeAdopt, env: NodeEnv, context: Context) -> VolumeReply:
    _adoption_of(call.disk.template, env).adopt(call.disk, call.owner, found=call.found, origin=call.origin)
    return storage_of(call.disk, env).open(call.disk, call.owner)


@handles(VolumeGiveBack)
def give_back(call: VolumeGiveBack, env: NodeEnv, context: Context) -> None:
    _adoption_of(call.disk.template, env).give_back(call.disk, call.owner, found=call.found, origin=call.origin)
