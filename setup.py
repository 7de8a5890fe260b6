"""Installation; what is not found by looking is declared in pyproject.toml."""

import os


def packages(directory: str) -> list[str]:
    """Every package below lib/, under its name."""
    found = []
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        if "__init__.py" in files:
            relative = os.path.relpath(folder, directory)
            found.append("ganeti" if relative == "." else "ganeti." + relative.replace(os.sep, "."))
    return sorted(found)


def launchers(directory: str) -> list[str]:
    """Commands and daemons; installation puts its own Python into their first line."""
    return [
        f"{folder}/{name}"
        for folder in ("daemons", "scripts")
        for name in sorted(os.listdir(os.path.join(directory, folder)))
        if os.path.isfile(os.path.join(directory, folder, name))
    ]


if __name__ == "__main__":
    from setuptools import setup

    setup(packages=packages("lib"), package_dir={"ganeti": "lib"}, scripts=launchers("."))
