"""squashfs 4.0, as the kernel mounts it and `unsquashfs` reads it; integers are little-endian, nothing is aligned.

    superblock | data and fragments | inodes | directories | fragment table | export table | ids | xattrs | padding

Data are cut into blocks of 128 KiB, all else into metadata blocks of 8 KiB, each compressed by itself. Source: kernel
Documentation/filesystems/squashfs.rst, sections 3.1 to 3.8; field by field, squashfs-tools-ng doc/format.adoc; what
a kernel checks on mounting, fs/squashfs/super.c.
"""
