"""Scripts with data that flow in or out: their limit is one without data."""

import threading

import pytest

from ganeti import errors
from ganeti.host import script


def run(text, tmp_path, *, timeout_s, **data):
    with open(tmp_path / "log", "wb") as log:
        return script.run(
            ("/bin/sh", "-c", text),
            output=log,
            timeout_s=timeout_s,
            environment={"PATH": "/bin:/usr/bin"},
            cwd="/",
            stop=threading.Event(),
            max_output=1000,
            **data,
        )


def test_a_script_whose_data_flow_may_take_longer_than_its_limit(tmp_path):
    """A terabyte takes longer than any script shall hang."""
    came = []

    def take(output):
        while data := output.read(100):
            came.append(data)

    assert run("for i in 1 2 3 4 5 6 7 8; do echo x; sleep 0.3; done", tmp_path, timeout_s=2.0, take=take) == 0
    assert b"".join(came) == b"x\n" * 8


def test_a_script_that_takes_no_more_data_is_ended(tmp_path):
    with pytest.raises(errors.CommandFailed, match="no data and no end within"):
        run("sleep 1000", tmp_path, timeout_s=0.5, feed=lambda given: given.write(bytes(1 << 20)))
