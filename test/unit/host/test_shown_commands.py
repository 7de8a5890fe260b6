"""What a log may have of a command."""

from __future__ import annotations

import logging

import pytest

from ganeti import errors
from ganeti.host.run import HostRunner, shown
from ganeti.paths import Paths
from ganeti.storage.drbd8 import commands


def test_the_secret_of_a_mirror_is_in_no_log_and_no_error(tmp_path, caplog):
    argv = commands.connect(3, "ipv4:192.0.2.1:11000", "ipv4:192.0.2.2:11000", secret="tell-nobody", options=())
    assert any("tell-nobody" in word for word in argv)
    assert "tell-nobody" not in str(shown(argv))
    assert shown(("lvs", "--units=m")) == ("lvs", "--units=m")
    caplog.set_level(logging.DEBUG)
    runner = HostRunner(Paths(str(tmp_path), "n"))
    with pytest.raises(errors.CommandFailed) as caught:
        runner.run(("/bin/false", *argv[1:]))
    assert "--shared-secret=<hidden>" in caplog.text
    assert "tell-nobody" not in caplog.text + str(caught.value)
