"""What is declared for installation is what is there."""

import os
import re
import runpy
import subprocess
import sys
import tomllib

import pytest


@pytest.fixture(scope="module")
def project(repository):
    with open(f"{repository}/pyproject.toml", "rb") as file:
        return tomllib.load(file)


def locked(path):
    with open(path, encoding="utf-8") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    return {re.split(r"==", line)[0].lower().replace("_", "-") for line in lines if line}


def test_every_package_is_installed(repository):
    found = runpy.run_path(f"{repository}/setup.py", run_name="not main")["packages"](f"{repository}/lib")
    there = {
        ".".join(["ganeti", *os.path.relpath(directory, f"{repository}/lib").split(os.sep)]).removesuffix("..")
        for directory, _, files in os.walk(f"{repository}/lib")
        if "__init__.py" in files
    }
    assert {name.rstrip(".") for name in there} == set(found)


def test_every_launcher_is_installed(repository):
    found = runpy.run_path(f"{repository}/setup.py", run_name="not main")["launchers"](repository)
    there = [f"{folder}/{name}" for folder in ("daemons", "scripts") for name in os.listdir(f"{repository}/{folder}")]
    assert sorted(found) == sorted(name for name in there if "__pycache__" not in name)


def test_every_dependency_is_locked(repository, project):
    def names(wanted):
        return {re.split(r"[<>=;\s\[]", line)[0].lower().replace("_", "-") for line in wanted}

    run = locked(f"{repository}/requirements.lock")
    test = locked(f"{repository}/requirements-test.lock")
    assert names(project["project"]["dependencies"]) <= run
    assert names(project["project"]["optional-dependencies"]["test"]) <= test
    assert not run & test


def test_every_room_is_in_the_import_rules(repository, project):
    layers = " ".join(project["tool"]["importlinter"]["contracts"][0]["layers"])
    rooms = {name for name in os.listdir(f"{repository}/lib") if os.path.exists(f"{repository}/lib/{name}/__init__.py")}
    assert {room for room in rooms if f"ganeti.{room}" not in layers.replace("|", " ").split()} == set()


def test_commands_start_without_heavy_modules():
    heavy = {"asyncio", "aiohttp", "cheroot", "cryptography", "OpenSSL", "pyparsing", "rich", "ssl", "sqlite3"}
    code = "import sys; from ganeti.cli.main import main; from ganeti.cli import lists; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert heavy & loaded == set()


@pytest.fixture(scope="module")
def generated(repository, tmp_path_factory):
    found = runpy.run_path(f"{repository}/tools/generate", run_name="not main")
    return found["texts"]("/usr/sbin")


def test_every_program_has_a_man_page(repository, generated):
    there = {name for folder in ("daemons", "scripts") for name in os.listdir(f"{repository}/{folder}")}
    wanted = {f"man8/{name}.8" for name in there if name != "__pycache__"}
    assert wanted == {name for name in generated if name.startswith("man8/")}
    for name in wanted:
        head = generated[name].split(".SH DESCRIPTION\n")[0]
        assert "\\- " in head, name
        assert generated[name].split(".SH DESCRIPTION\n")[1].strip(), name


def test_every_command_is_completed_by_both_shells(generated):
    from ganeti.cli import commands

    for tool in commands.TOOLS:
        for verb in commands.every(tool):
            for shell in ("bash_completion.d/ganeti", "zsh/_ganeti"):
                assert f'"{tool} {verb.name}"' in generated[shell]
    assert generated["zsh/_ganeti"].startswith("#compdef " + " ".join(commands.TOOLS))


def test_everything_that_is_generated_is_installed(repository, generated):
    with open(f"{repository}/Makefile.am", encoding="utf-8") as file:
        rules = file.read()
    for name in generated:
        folder = name.partition("/")[0]
        assert f"$(stage)/{folder}/" in rules, name
