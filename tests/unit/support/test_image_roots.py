"""An image is unpacked as a runtime would, and what unpacking loses is told."""

import io
import tarfile
from pathlib import Path

from tests.support.image_roots import unpack
from tests.unit.hack.test_image_archives import write_archive


def layer(*members: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(member)
    return content.getvalue()


def test_a_file_that_gives_capabilities_is_named(tmp_path: Path) -> None:
    plain, privileged = tarfile.TarInfo("plain"), tarfile.TarInfo("ping")
    for member in (plain, privileged):
        member.uid = member.gid = Path("/proc/self").stat().st_uid
    privileged.pax_headers = {"SCHILY.xattr.security.capability": "any"}
    archive = write_archive(
        tmp_path / "a.tar", reference="a:1", command="serve", layers={"layer.tar": layer(plain, privileged)}
    )
    unpacked = unpack(archive, "a:1", tmp_path / "root")
    assert sorted(unpacked.files()) == ["/ping", "/plain"]
    assert unpacked.privileged == ["/ping"]
