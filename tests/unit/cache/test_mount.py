from pathlib import Path

import pytest

from kitbuild.cache.directory import open_directory
from kitbuild.cache.mount import network_file_system
from kitbuild.errors import StoreError

MOUNTINFO = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:30 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
31 30 254:1 / /home/me/local\040disk rw - xfs /dev/vdb rw
32 27 0:32 / /mnt/c rw - 9p drvfs rw
33 27 0:33 / /twice rw - ext4 /dev/vdc rw
34 33 0:34 / /twice rw - cifs //server/share rw
35 27 0:35 / /ssh rw - fuse.sshfs me@server: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param("/var/cache/kitbuild", None, id="local"),
        pytest.param("/home/me/.cache/kitbuild", "nfs4", id="nfs"),
        pytest.param("/homestead", None, id="a longer name is another folder"),
        pytest.param("/home/me/local disk/cache", None, id="local disk below nfs"),
        pytest.param("/mnt/c/cache", "9p", id="9p"),
        pytest.param("/twice/cache", "cifs", id="the later mount hides the earlier"),
        pytest.param("/ssh", "fuse.sshfs", id="the mount point itself"),
    ],
)
def test_network_file_system_is_that_of_the_deepest_mount(
    tmp_path: Path, path: str, kind: str | None
) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTINFO)

    assert kind == network_file_system(Path(path), mountinfo)


def test_nothing_is_known_without_mountinfo(tmp_path: Path) -> None:
    assert network_file_system(Path("/home/me"), tmp_path / "mountinfo") is None


def test_cache_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody can mount NFS in a unit test.
    monkeypatch.setattr("kitbuild.cache.directory.network_file_system", lambda _path: "nfs4")

    with pytest.raises(StoreError, match=r"is on a network file system \(nfs4\)") as caught:
        open_directory(tmp_path / "cache")

    assert caught.value.hint == "set KITBUILD_CACHE_DIR to a folder on a local disk"
    assert list((tmp_path / "cache").iterdir()) == []
