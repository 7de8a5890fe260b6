"""The Debian package, as far as can be said without building it."""

import os
import re
import subprocess

import pytest

from ganeti import settings

SCRIPTS = ("config", "postinst", "prerm", "postrm")


@pytest.fixture(scope="module")
def text(repository):
    def read(path):
        with open(f"{repository}/{path}", encoding="utf-8") as file:
            return file.read()

    return read


@pytest.mark.parametrize("name", [f"debian/{name}" for name in (*SCRIPTS, "build")] + [
    f"test/package/{name}" for name in ("install", "inside", "boot", "booted")
])  # fmt: skip
def test_script_is_one(repository, name):
    path = f"{repository}/{name}"
    assert os.access(path, os.X_OK)
    with open(path, encoding="utf-8") as file:
        shell = file.readline().removeprefix("#!").split()[0]
    done = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_version_is_written_in_one_place_only(text, repository):
    assert 'VERSION = "' in text("lib/settings.py")
    assert "Version: @VERSION@" in text("debian/control.in")
    assert 'attr = "ganeti.settings.VERSION"' in text("pyproject.toml")
    assert "lib/settings.py" in text("configure.ac").split("AC_INIT")[1].split("\n")[0]
    quoted = re.compile(rf"""["'@=]{re.escape(settings.VERSION)}["'@\s]""")
    for path in ("configure.ac", "Makefile.am", "setup.py", "pyproject.toml", "debian/control.in", "debian/build"):
        assert not quoted.search(text(path)), path


def test_control_has_what_every_package_needs(text):
    fields = dict(line.split(": ", 1) for line in text("debian/control.in").splitlines() if line[:1].isupper())
    assert {"Package", "Version", "Architecture", "Maintainer", "Depends", "Description"} <= set(fields)
    # the private environment is made for one release of Python, and for no other
    assert "python3 (>= @PYTHON@), python3 (<< @PYTHON_NEXT@)" in fields["Depends"]


def test_accounts_of_the_build_are_made_and_removed(text):
    options = dict(re.findall(r"--with-(\w+-(?:user|group))=([\w-]+)", text("debian/build")))
    assert set(options) == {"masterd-user", "rapi-user", "confd-user", "daemons-group", "admin-group"}
    for name in options.values():
        assert re.search(rf"\b{name}\b", text("debian/postinst")), name
        assert re.search(rf"\b{name}\b", text("debian/postrm")), name


def test_nothing_is_enabled_or_started_by_the_installation(text):
    assert not re.search(r"systemctl\s+(?:\S+\s+)*?(enable|start|restart)", text("debian/postinst"))
    assert "ganeti-daemons start" not in text("debian/postinst")


def test_purge_asks_before_data_go(text):
    script, templates = text("debian/postrm"), text("debian/templates")
    (question,) = set(re.findall(r"ganeti/[a-z-]+", templates))
    assert f"db_input high {question}" in script
    assert "Default: false" in templates
    before = script.split('if [ "$answer" = true ]')[0]
    assert "/var/lib/ganeti " not in before.replace("-e /var/lib/ganeti ", ""), "nothing of it is removed unasked"
