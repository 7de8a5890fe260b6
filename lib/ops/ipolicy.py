"""The options about instance policies, of the cluster and of node groups; the word `default` takes an override away."""

from __future__ import annotations

from typing import Annotated, Any

from ganeti.ops.base import Option, Parse, opt

#: the parts of an instance policy
BOUNDS_OPTION = Option(
    flags=("--ipolicy-bounds-specs",),
    parse=Parse.POLICY,
    also="minmax",
    metavar="min:KEY=VALUE,.../max:KEY=VALUE,...",
    help="least and greatest instances; // between pairs",
)
POLICY_OPTIONS = (
    Option(
        flags=("--ipolicy-std-specs",),
        parse=Parse.POLICY,
        also="std",
        metavar="KEY=VALUE,...",
        help="size of a standard instance",
    ),
    Option(
        flags=("--ipolicy-disk-templates",),
        parse=Parse.POLICY,
        also="disk-templates",
        metavar="A,B,...",
        help="disk templates that are allowed",
    ),
    Option(
        flags=("--ipolicy-vcpu-ratio",),
        parse=Parse.POLICY,
        also="vcpu-ratio",
        metavar="RATIO",
        help="most virtual CPUs for a real one",
    ),
    Option(
        flags=("--ipolicy-spindle-ratio",),
        parse=Parse.POLICY,
        also="spindle-ratio",
        metavar="RATIO",
        help="most instances for a spindle",
    ),
)

# Any: typed by the logic, part by part
GroupPolicy = Annotated[
    dict[str, Any] | None,
    opt(
        *BOUNDS_OPTION.flags,
        help=BOUNDS_OPTION.help,
        parse=BOUNDS_OPTION.parse,
        also=BOUNDS_OPTION.also,
        metavar=BOUNDS_OPTION.metavar,
        others=POLICY_OPTIONS[1:],  # a group has no standard instance of its own
    ),
]
