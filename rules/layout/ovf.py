"""The OVF descriptor of a virtual machine with one disk, for VMware and VirtualBox.

BIOS, one processor, 1 GiB of memory, the disk at an LSI Logic SCSI adapter, one network card.
Source: DMTF DSP0243 "Open Virtualization Format Specification" 1.0; DMTF CIM_ResourceAllocationSettingData for the
numbers of resource types.
"""

from __future__ import annotations

_MEMORY_MIB = 1024
# 64-bit Linux: CIM's number, VMware's and VirtualBox's name of it.
_SYSTEM = 'ovf:id="101" vmw:osType="otherLinux64Guest"'
_PROCESSOR, _MEMORY, _SCSI, _NETWORK, _DISK = 3, 4, 6, 10, 17


def descriptor(*, name: str, disk: str, disk_bytes: int, file_bytes: int) -> bytes:
    """The descriptor of the machine `name`; `disk` is the VMDK's file, `disk_bytes` what it is to the machine."""
    name, disk = (_escaped(text) for text in (name, disk))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" \
xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" \
xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" \
xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:id="file1" ovf:href="{disk}" ovf:size="{file_bytes}"/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{disk_bytes}" \
ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="NAT">
      <Description>The network the machine is on</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>A virtual machine</Info>
    <Name>{name}</Name>
    <OperatingSystemSection {_SYSTEM}>
      <Info>The operating system</Info>
      <Description>Linux</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual hardware family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-07</vssd:VirtualSystemType>
      </System>
{_items()}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
""".encode("utf-8", "backslashreplace")


def _escaped(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def _items() -> str:
    # CIM has its elements in alphabetical order, and the schema insists on it.
    items: list[dict[str, object]] = [
        {"ElementName": "1 processor", "InstanceID": 1, "ResourceType": _PROCESSOR, "VirtualQuantity": 1},
        {
            "AllocationUnits": "byte * 2^20",
            "ElementName": f"{_MEMORY_MIB} MiB of memory",
            "InstanceID": 2,
            "ResourceType": _MEMORY,
            "VirtualQuantity": _MEMORY_MIB,
        },
        {
            "Address": 0,
            "ElementName": "SCSI controller",
            "InstanceID": 3,
            "ResourceSubType": "lsilogic",
            "ResourceType": _SCSI,
        },
        {
            "AddressOnParent": 0,
            "ElementName": "disk",
            "HostResource": "ovf:/disk/disk1",
            "InstanceID": 4,
            "Parent": 3,
            "ResourceType": _DISK,
        },
        {
            "AutomaticAllocation": "true",
            "Connection": "NAT",
            "ElementName": "network card",
            "InstanceID": 5,
            "ResourceSubType": "E1000",
            "ResourceType": _NETWORK,
        },
    ]
    return "".join(_item(item) for item in items)


def _item(fields: dict[str, object]) -> str:
    lines = "".join(f"        <rasd:{name}>{value}</rasd:{name}>\n" for name, value in fields.items())
    return f"      <Item>\n{lines}      </Item>\n"
