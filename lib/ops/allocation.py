"""Operations of instance allocation: several instances at once, and trying an allocator."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ganeti.model.objects import DiskTemplate
from ganeti.ops.base import OpCode, Rest, operation


@operation(rest=Rest(method="POST", path="/2/instances-multi-alloc"))
class OpInstanceMultiAlloc(OpCode, frozen=True, tag="OP_INSTANCE_MULTI_ALLOC"):
    """Create several instances. Result: {jobs, allocatable, failed}; the last two are lists of names.

    An allocator places all of them together, or each has its nodes given.
    """

    # Any: parameters of OP_INSTANCE_CREATE
    instances: tuple[dict[str, Any], ...] = ()
    iallocator: str = ""
    opportunistic_locking: bool = False


@operation(summary="iallocator")
class OpTestAllocator(OpCode, frozen=True, tag="OP_TEST_ALLOCATOR"):
    """Show what an allocator would be given (in) or what it answers (out). Result: that text."""

    direction: Literal["in", "out"]
    mode: Literal["allocate", "allocate-secondary", "relocate", "multi-allocate", "node-evacuate", "change-group"]
    name: str = ""  # of the instance, or of the new one
    # Any: as in OP_INSTANCE_CREATE
    nics: tuple[dict[str, Any], ...] = ()
    disks: tuple[dict[str, Any], ...] = ()
    hypervisor: str = ""
    iallocator: str = ""
    tags: tuple[str, ...] = ()
    memory: Annotated[int, Meta(ge=0)] | None = None  # MiB
    vcpus: Annotated[int, Meta(ge=0)] | None = None
    os: str = ""
    disk_template: DiskTemplate | None = None
    instances: tuple[str, ...] = ()
    evac_mode: Literal["primary-only", "secondary-only", "all"] = "all"
    target_groups: tuple[str, ...] = ()
    spindle_use: Annotated[int, Meta(ge=0)] = 1
    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    group_name: str = ""
