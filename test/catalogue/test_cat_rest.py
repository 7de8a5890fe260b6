"""What derives from the table of REST resources is what it shall be."""

import ast
import os
import subprocess
import sys

from ganeti.rapi import catalogue, client_text, openapi
from ganeti.rapi.client import Client

COMMAND = "GOLDEN=rewrite tools/check tests --only test_cat_rest"


def test_client_in_one_file_is_that_of_the_table(repository):
    path = f"{repository}/lib/rapi/client.py"
    made = client_text.text()
    with open(path, encoding="utf-8") as file:
        is_same = ast.dump(ast.parse(file.read())) == ast.dump(ast.parse(made))
    if not is_same and os.environ.get("GOLDEN") == "rewrite":
        with open(path, "w", encoding="utf-8") as file:
            file.write(made)
        subprocess.run([f"{os.path.dirname(sys.executable)}/ruff", "format", "-q", path], check=True)
        return
    assert is_same, f"lib/rapi/client.py is not that of the resources any more: {COMMAND}"


def test_client_needs_nothing_of_ours(repository):
    with open(f"{repository}/lib/rapi/client.py", encoding="utf-8") as file:
        tree = ast.parse(file.read())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in modules} <= set(sys.stdlib_module_names)


def test_every_resource_is_in_the_document_and_in_the_client():
    routes = catalogue.table().routes
    document = openapi.document(routes)
    for route in routes:
        operation = document["paths"][route.path][route.method.lower()]
        assert operation["operationId"] == route.name
        named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert named == set(route.words)
        assert callable(getattr(Client, route.name))
        if route.rights:
            assert operation["security"] == [{"password": []}]
