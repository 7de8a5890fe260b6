"""What is read and what is refused in its place."""

import os
import socket

import pytest

from ganeti.host import files, regular


def test_a_file_is_read_whole_or_its_beginning(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert regular.read(f"{tmp_path}/link") == b"content"
    assert regular.read(f"{tmp_path}/file", max_bytes=3) == b"con"
    assert regular.read("/proc/self/comm") != b""


def test_a_pipe_a_socket_a_device_and_a_directory_are_refused_by_name(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # its whole path may be too long for one
        listener.bind("socket")
        for name, why in (("pipe", "a pipe"), ("socket", "a socket"), ("/dev/zero", "a device"), (".", "directory")):
            for read in (regular.read, files.read_text):
                with pytest.raises(OSError, match=why) as caught:
                    read(str(tmp_path / name))
                assert caught.value.filename == str(tmp_path / name)


def test_what_is_not_there_is_told_as_ever(tmp_path):
    with pytest.raises(FileNotFoundError):
        regular.read(f"{tmp_path}/nothing")
    assert files.read_text(f"{tmp_path}/nothing") is None


def test_what_a_command_of_the_users_shell_writes_is_read_to_its_end():
    ours, theirs = os.pipe()
    with open(theirs, "wb") as writer:
        writer.write(b"secret")
    try:
        with pytest.raises(OSError, match="a pipe"):
            regular.read(f"/dev/fd/{ours}")
        assert regular.read_argument(f"/dev/fd/{ours}") == b"secret"
    finally:
        os.close(ours)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        regular.read_argument(f"/dev/fd/{ours}")
    assert caught.value.strerror


def test_an_argument_that_names_a_pipe_of_the_file_system_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe"):
        regular.read_argument(f"{tmp_path}/pipe")
    with open("/dev/zero", "rb") as device, pytest.raises(OSError, match="a device"):
        regular.read_argument(f"/dev/fd/{device.fileno()}")
