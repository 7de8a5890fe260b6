"""The daemons' log file when its disk is full."""

import errno
import logging
import os

import pytest

from ganeti.host.daemon import LogFile


def _record(level, text):
    return logging.LogRecord("x", level, "x.py", 1, text, None, None)


def test_lines_that_cannot_be_written_end_nobody(tmp_path):
    path = tmp_path / "daemon.log"
    told, full = [], [True]

    def write(handle, data):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(handle, data)

    handler = LogFile(str(path), mode=0o600, uid=-1, gid=-1, elsewhere=told.append, write=write)
    handler.emit(_record(logging.INFO, "an info"))
    handler.emit(_record(logging.WARNING, "a warning"))
    assert told == [f"a warning (not in {path}: No space left on device)"]
    full.clear()
    handler.reopen()
    handler.emit(_record(logging.INFO, "there is space again"))
    handler.emit(_record(logging.INFO, "and so on"))
    handler.close()
    assert path.read_text() == (
        "(2 lines are missing here: they could not be written)\nthere is space again\nand so on\n"
    )


def test_a_file_that_cannot_be_opened_anew_is_tried_again_and_the_old_one_used(tmp_path):
    path = tmp_path / "logs" / "daemon.log"
    path.parent.mkdir()
    told = []
    handler = LogFile(str(path), mode=0o600, uid=-1, gid=-1, elsewhere=told.append)
    os.rename(path.parent, tmp_path / "moved")
    handler.reopen()
    handler.emit(_record(logging.ERROR, "an error"))
    assert "No such file" in told[0]
    handler.emit(_record(logging.ERROR, "another"))
    handler.close()
    assert "another" in (tmp_path / "moved" / "daemon.log").read_text()


def test_a_link_that_waits_in_the_place_of_a_log_is_not_followed(tmp_path):
    treasure = tmp_path / "shadow"
    treasure.write_text("secret\n")
    path = tmp_path / "node-daemon.log"
    path.symlink_to(treasure)
    with pytest.raises(OSError, match="symbolic link"):
        LogFile(str(path), mode=0o600, uid=-1, gid=-1)
    path.unlink()
    told = []
    handler = LogFile(str(path), mode=0o600, uid=-1, gid=-1, elsewhere=told.append)
    path.unlink()
    path.symlink_to(treasure)
    handler.reopen()
    handler.emit(_record(logging.ERROR, "an error"))
    handler.close()
    assert "symbolic link" in told[0]
    assert treasure.read_text() == "secret\n"
