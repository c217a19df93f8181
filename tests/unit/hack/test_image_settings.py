"""What a build is lent of the machine's own way to its registries."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from hack.errors import ImageError
from hack.images import machine
from hack.images.machine import AptSource, apt_proxy, apt_settings, parse_apt_sources, pip_settings

TARGETS = """\
http://mirror.test/debian/ bookworm main Debian
http://mirror.test/debian/ bookworm contrib Debian
http://mirror.test/debian/ bookworm main Debian
http://mirror.test/debian/ bookworm-updates main Debian
http://security.test/debian-security/ bookworm-security main $(ORIGIN)
https://stranger.test/node_20.x/ nodistro main . nodistro
https://stranger.test/apt/ cloud-sdk-bookworm main cloud-sdk-bookworm
https://stranger.test/linux/debian/ bookworm stable Docker
https://stranger.test/apt/ bookworm-pgdg main apt.postgresql.org
"""
DUMP = """\
APT "";
APT::Architecture "amd64";
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://proxy.test:3128";
Acquire::https::Verify-Peer "true";
Acquire::Languages "none";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/something";
"""


def test_apt_sources_are_those_of_the_machines_own_release_each_once() -> None:
    assert parse_apt_sources(TARGETS, release="bookworm") == [
        AptSource("http://mirror.test/debian/", "bookworm", "main"),
        AptSource("http://mirror.test/debian/", "bookworm", "contrib"),
        AptSource("http://mirror.test/debian/", "bookworm-updates", "main"),
        AptSource("http://security.test/debian-security/", "bookworm-security", "main"),
    ]


def test_a_machine_whose_apt_knows_only_updates_cannot_build() -> None:
    with pytest.raises(ImageError, match="no source of bookworm"):
        parse_apt_sources("http://mirror.test/debian/ bookworm-updates main Debian\n", release="bookworm")


def test_a_list_of_mirrors_stands_for_its_first(tmp_path: Path) -> None:
    mirrors = tmp_path / "apt-mirrors.txt"
    mirrors.write_text("# nearest first\n\nhttp://near.test/ubuntu/\tpriority:1\nhttp://far.test/ubuntu/\n")
    sources = parse_apt_sources(f"mirror+file:{mirrors}/ noble main Ubuntu\n", release="noble")
    assert sources == [AptSource("http://near.test/ubuntu/", "noble", "main")]


def test_of_apts_settings_only_the_way_to_the_archive_is_taken() -> None:
    assert apt_settings(DUMP).splitlines() == [
        'Acquire::http::Proxy "http://proxy.test:3128";',
        'Acquire::https::Verify-Peer "true";',
        'Acquire::https::CaInfo "/run/machine/ca-certificates.crt";',
    ]


@pytest.mark.parametrize(
    ("dump", "proxy"),
    [(DUMP, "http://proxy.test:3128"), ('Acquire::http::Proxy "DIRECT";\n', None), ('Acquire::http "";\n', None)],
)
def test_the_bootstrap_is_told_apts_proxy(dump: str, proxy: str | None) -> None:
    assert apt_proxy(dump) == proxy


def test_pips_environment_wins_over_its_files_and_what_is_not_the_way_to_the_index_stays_behind() -> None:
    configuration = "\n".join(
        [
            ":env:.index-url='https://user:word@index.test/simple'",
            ":env:.find-links='/somewhere'",
            "global.cert='/somewhere/ca.pem'",
            "global.extra-index-url='\\nhttps://one.test/simple\\nhttps://two.test/simple'",
            "global.index-url='https://other.test/simple'",
            "install.require-virtualenv='true'",
            "install.timeout='7'",
        ]
    )
    parsed = ConfigParser(interpolation=None)
    parsed.read_string(pip_settings(configuration))
    options = dict(parsed["global"])
    assert options.pop("cert", machine.AUTHORITIES_INSIDE) == machine.AUTHORITIES_INSIDE
    assert options == {
        "index-url": "https://user:word@index.test/simple",
        "extra-index-url": "https://one.test/simple\nhttps://two.test/simple",
        "timeout": "7",
    }


def test_what_is_lent_is_readable_by_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"apt-get": TARGETS, "apt-config": DUMP}
    monkeypatch.setattr(machine, "codename", lambda: "bookworm")
    monkeypatch.setattr(machine, "_run", lambda *command: answers.get(command[0], "global.index-url='https://i.test'"))
    lent = {mount.inside: mount.outside for mount in machine.mounts(tmp_path / "machine")}
    assert "deb http://security.test/debian-security/ bookworm-security main" in lent[
        "/etc/apt/sources.list"
    ].read_text(encoding="utf-8")
    written = [path for path in lent.values() if path.is_relative_to(tmp_path)]
    assert len(written) == 3
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}
