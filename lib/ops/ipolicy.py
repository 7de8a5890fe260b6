"""The options about the instance policy of a node group; the word `default` takes an override away."""

from __future__ import annotations

from typing import Annotated, Any

from ganeti.ops.base import Option, Parse, opt

# Any: typed by the logic, part by part
GroupPolicy = Annotated[
    dict[str, Any] | None,
    opt(
        "--ipolicy-bounds-specs",
        parse=Parse.POLICY,
        also="minmax",
        metavar="min:KEY=VALUE,.../max:KEY=VALUE,...",
        help="least and greatest instances; // between pairs",
        others=(
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
        ),
    ),
]
