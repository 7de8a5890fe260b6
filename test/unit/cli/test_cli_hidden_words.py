"""The log of commands has no value that nobody is shown."""

from __future__ import annotations

import pytest

from ganeti.cli.main import without_secrets


@pytest.mark.parametrize(
    ("words", "logged"),
    [
        (["-O", "a=b", "web1"], ["-O", "a=b", "web1"]),
        (["--os-parameters-secret=a=rose", "web1"], ["--os-parameters-secret=<redacted>", "web1"]),
        (["--os-parameters-secret", "a=rose", "web1"], ["--os-parameters-secret", "<redacted>", "web1"]),
        (["--os-parameters-p", "a=rose", "--submit"], ["--os-parameters-p", "<redacted>", "--submit"]),
        (["--os-parameters-s", "--os-parameters-s=rose", "x"], ["--os-parameters-s", "<redacted>", "x"]),
        (["--os-parameters=a=b"], ["--os-parameters=a=b"]),
    ],
)
def test_hidden_words_are_not_logged(words, logged):
    assert without_secrets(words) == logged
