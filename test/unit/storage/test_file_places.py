import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.storage.file import mark, places


def test_the_list_of_directories_skips_comments_and_tells_what_it_does_not_use():
    found = places.parse_list("# ours\n/srv/a\n\n  /mnt/b  \nrelative\n/etc/x\n/srv/../etc\n/\n/usr/local/vm\n/lib64\n")
    assert found.directories == ("/srv/a", "/mnt/b", "/usr/local/vm")
    assert len(found.problems) == 5
    assert "'/etc/x' is below /etc, where no volume may lie" in found.problems


@pytest.mark.parametrize("path", ["/srv/a/web1/disk0", "/srv/a/disk0", "/mnt/b/x"])
def test_a_volume_below_an_allowed_directory_is_fine(path):
    assert places.why_not_volume(path, ("/srv/a", "/mnt/b")) == ""


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/srv/ab/disk0", "not below"),
        ("/srv/a", "not below"),
        ("/srv/a/../b/disk0", "normalised"),
        ("/srv/a//disk0", "normalised"),
        ("//srv/a/disk0", "normalised"),
        ("srv/a/disk0", "normalised"),
        ("/srv/a/disk0/", "normalised"),
        ("/srv/a/disk\0", "normalised"),
        ("/srv/a/disk0.owner", "marks"),
    ],
)
def test_other_volumes_are_refused(path, why):
    assert why in places.why_not_volume(path, ("/srv/a",))


@given(st.lists(st.sampled_from(["..", ".", "a", "srv", "", "x.owner"]), max_size=6))
def test_what_is_allowed_really_lies_below(parts):
    path = "/srv/a/" + "/".join(parts)
    if not places.why_not_volume(path, ("/srv/a",)):
        assert ".." not in path.split("/")
        assert path.startswith("/srv/a/")
        assert not path.endswith("/")


def test_a_mark_reads_back_and_other_files_are_none():
    ours = mark.Mark(owner="i", disk="d")
    assert mark.decode(mark.encode(ours).decode()) == ours
    assert [mark.decode(text) for text in ("", "{}", "hello", '{"owner":"i","disk":"d","version":2}')] == [None] * 4
