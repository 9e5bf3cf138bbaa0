"""Which kernels are taken for EFI, and what is said of the others."""

from __future__ import annotations

import gzip

import pytest

from kitbuild.errors import RuleError
from kitbuild.rules.layout.efi_kernel import HEAD_BYTES, check, check_for_grub
from tests.support.kernels import kernel
from tests.support.pe import program

AMD64, ARM64 = kernel("amd64")[:HEAD_BYTES], kernel("arm64")[:HEAD_BYTES]
AMD64_WITHOUT, ARM64_WITHOUT = (
    kernel("amd64", stub=False)[:HEAD_BYTES],
    kernel("arm64", stub=False)[:HEAD_BYTES],
)
ELF = b"\x7fELF" + bytes(1020)


@pytest.mark.parametrize(("head", "architecture"), [(AMD64, "amd64"), (ARM64, "arm64")])
def test_kernels_with_a_stub_are_taken(head: bytes, architecture: str) -> None:
    check(head, architecture)
    check_for_grub(head, architecture)


@pytest.mark.parametrize(
    ("head", "architecture", "got", "hint"),
    [
        pytest.param(ARM64, "amd64", "one for arm64", "for that architecture", id="arm64 for amd64"),
        pytest.param(AMD64, "arm64", "one for amd64", "for that architecture", id="amd64 for arm64"),
        pytest.param(program(machine=0x14C), "amd64", "one for 386", "for that architecture", id="32 bits"),
        pytest.param(
            program(machine=0x1234), "amd64", "one for machine 0x1234", "for that architecture", id="strange"
        ),
        pytest.param(AMD64_WITHOUT, "amd64", "one without", "CONFIG_EFI_STUB=y", id="amd64 without"),
        pytest.param(ARM64_WITHOUT, "arm64", "one without", "CONFIG_EFI_STUB=y", id="arm64 without"),
        pytest.param(gzip.compress(ARM64), "arm64", "a compressed one", "`--decompress-kernel`", id="gzip"),
        pytest.param(b"\x28\xb5\x2f\xfd", "arm64", "a compressed one", "`--decompress-kernel`", id="zstd"),
        pytest.param(ELF, "amd64", "an ELF file", "`bzImage`", id="ELF"),
        pytest.param(b"text", "amd64", "a file that is no kernel", "CONFIG_EFI_STUB=y", id="text"),
        pytest.param(b"", "amd64", "a file that is no kernel", "CONFIG_EFI_STUB=y", id="empty"),
    ],
)
def test_other_files_are_refused_for_what_they_are(
    head: bytes, architecture: str, got: str, hint: str
) -> None:
    with pytest.raises(RuleError) as caught:
        check(head, architecture)

    assert f"expected a kernel with an EFI stub for {architecture}, got {got}" == caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("head", "architecture"),
    [
        pytest.param(AMD64_WITHOUT, "amd64", id="amd64 without a stub"),
        pytest.param(gzip.compress(ARM64), "arm64", id="gzip"),
    ],
)
def test_grub_takes_more_than_firmware(head: bytes, architecture: str) -> None:
    check_for_grub(head, architecture)


@pytest.mark.parametrize(
    ("head", "architecture"),
    [
        pytest.param(ARM64_WITHOUT, "arm64", id="arm64 without a stub"),
        pytest.param(AMD64_WITHOUT, "arm64", id="amd64 for arm64"),
        pytest.param(ARM64, "amd64", id="arm64 for amd64"),
        pytest.param(ELF, "amd64", id="ELF"),
    ],
)
def test_grub_does_not_take_everything(head: bytes, architecture: str) -> None:
    with pytest.raises(RuleError, match="expected a kernel with an EFI stub"):
        check_for_grub(head, architecture)
