"""The entrance of tools/burnin."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence

from ganeti import errors
from ganeti.burnin import options, run
from ganeti.cli import failure
from ganeti.host.clock import SystemClock
from ganeti.luxi.client import Client


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status."""
    try:
        wanted = options.parse(list(sys.argv[1:] if argv is None else argv))
        with Client() as master:
            course = run.Burnin(
                wanted,
                master,
                clock=SystemClock(),
                out=sys.stdout,
                new_key=lambda: uuid.uuid4().hex,
                fetch=run.fetch,
            )
            course.run()
    except errors.GanetiError as err:
        sys.stderr.write(failure.describe(err) + "\n")
        return failure.exit_code(err)
    except KeyboardInterrupt:
        sys.stderr.write("Aborted. Jobs that were submitted go on (gnt-job list).\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
