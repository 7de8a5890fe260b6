"""What of a command goes into the log of commands."""

import pytest

from ganeti.cli.main import without_secrets


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["-O", "a=1", "web1"], ["-O", "a=1", "web1"]),
        (["--os-parameters-secret", "key=geheim", "web1"], ["--os-parameters-secret", "<hidden>", "web1"]),
        (["--os-parameters-private=key=geheim"], ["--os-parameters-private=<hidden>"]),
        (["--os-parameters-s", "--os-parameters-s=geheim", "x"], ["--os-parameters-s", "<hidden>", "x"]),
        (["--os-parameters", "a=1"], ["--os-parameters", "a=1"]),
    ],
)
def test_secrets_are_hidden(words, shown):
    assert without_secrets(words) == shown
