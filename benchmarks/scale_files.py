"""File systems of a wanted size, and changelogs of a wanted length that mfsmaster accepts.

Inodes are made by snapshots. A changelog is a real one: some operations on one file that end where they began (renamed
and renamed back, its mode and times set and set back) are done through a mount, what mfsmaster has written of them is
kept, and repeated with its lines numbered on. So every line is replayed as the operation that it is.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netns.cluster import FIRST, Cluster
from netns.commands import LaboratoryError, must
from netns.topology import VIP_CIDR
from pycarpd.moosefs.metadata import MetadataHeader, read_header

SEED_INODES: Final = 2000
BLOCK_COPIES: Final = 50
"""Seeds in a block; larger file systems are made of snapshots of the block."""
_WITHIN_S: Final = 600.0
_OWNER: Final = "mfs"
_CYCLE: Final = (
    "mv cycle-a cycle-b && chmod 600 cycle-b && touch -d @1700000000 cycle-b && mv cycle-b cycle-a"
    " && chmod 644 cycle-a && touch -d @1700000001 cycle-a"
)
_LINE = re.compile(rb"(\d+): (\d+)\|((\w+)\(.*)\n")
_CYCLES_OPERATIONS: Final = (b"MOVE", b"ATTR")
_WRITE_LINES: Final = 200_000


@dataclass(frozen=True, slots=True)
class Image:
    """A saved file system: its metadata file, that file's header, and the operations of one cycle."""

    metadata: Path
    header: MetadataHeader
    cycle: tuple[bytes, ...]


class Grower:
    """One file system on m1 that grows; between two sizes nothing runs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._saved = cluster.directory / "grown.mfs"
        self._cycle: tuple[bytes, ...] = ()
        self._seeds = 0
        self._blocks = 0

    def image(self, inodes: int) -> Image:
        """Return the file system once it has about so many inodes; sizes must not fall from call to call."""
        moosefs = self._cluster.moosefs
        metadata = moosefs.data_path(FIRST) / "metadata.mfs"
        if self._saved.exists():
            give(self._saved, metadata)
        else:
            moosefs.create_file_system(FIRST)
        self._cluster.topology.add_address(FIRST, VIP_CIDR)
        moosefs.start_master(FIRST)
        client = self._cluster.clients[0]
        mount = moosefs.mount(client)
        try:
            self._grow(client, mount, inodes)
            if not self._cycle:
                must("bash", "-c", f"cd {mount} && touch cycle-a && {_CYCLE}", timeout_s=_WITHIN_S)
        finally:
            moosefs.unmount(mount)
        moosefs.stop_master(FIRST)
        self._cluster.topology.remove_address(FIRST, VIP_CIDR)
        shutil.copyfile(metadata, self._saved)
        self._cycle = self._cycle or read_cycle(metadata.with_name("changelog.0.mfs"))
        header = read_header(self._saved)
        if not isinstance(header, MetadataHeader):
            raise LaboratoryError(f"what mfsmaster has saved is no metadata: {header}")
        return Image(self._saved, header, self._cycle)

    def _grow(self, client: str, mount: Path, inodes: int) -> None:
        seed, block = mount / "seed", mount / "block"
        if not self._seeds:
            names = f"seq -f 'file-with-an-ordinary-name-%g' {SEED_INODES} | xargs touch"
            must("bash", "-c", f"mkdir {seed} {block} && cd {seed} && {names}", timeout_s=_WITHIN_S)
            self._seeds = 1
        each = SEED_INODES + 1
        seeds = min(BLOCK_COPIES, inodes // each)
        self._snapshots(client, seed, [block / f"copy-{number}" for number in range(self._seeds, seeds)])
        self._seeds = max(self._seeds, seeds)
        blocks = max(0, inodes // (each * BLOCK_COPIES) - 1)
        self._snapshots(client, block, [mount / f"block-{number}" for number in range(self._blocks, blocks)])
        self._blocks = max(self._blocks, blocks)

    def _snapshots(self, client: str, source: Path, targets: list[Path]) -> None:
        script = "; ".join(f"mfsmakesnapshot {source} {target} || exit 1" for target in targets)
        if targets:
            must(*self._cluster.topology.inside_net(client, "bash", "-c", script), timeout_s=_WITHIN_S)


def give(source: Path, target: Path) -> None:
    """Copy a file to where mfsmaster's user owns it."""
    shutil.copyfile(source, target)
    shutil.chown(target, _OWNER, _OWNER)


def read_cycle(changelog: Path) -> tuple[bytes, ...]:
    """Return the operations of the cycle that a changelog ends with; LaboratoryError where they are not there."""
    operations: list[bytes] = []
    created = False
    for line in _LINE.finditer(changelog.read_bytes()):
        created = created or b",cycle-a," in line[3]
        if created and line[4] in _CYCLES_OPERATIONS:
            operations.append(line[3])
    moves = sum(operation.startswith(b"MOVE") for operation in operations)
    if moves != _CYCLE.count("mv ") or len(operations) <= moves:
        raise LaboratoryError(f"the cycle is not in the changelog as it was done: {operations}")
    return tuple(operations)


def write_tail(path: Path, image: Image, lines: int, unixtime: int) -> None:
    """Write a changelog of so many lines that goes on where the image ends."""
    with path.open("wb") as file:
        file.writelines(_blocks(image, lines, unixtime))


def _blocks(image: Image, lines: int, unixtime: int) -> Iterator[bytes]:
    first, cycle = image.header.version, image.cycle
    endings = [b": %d|%b\n" % (unixtime, operation) for operation in cycle]
    for begin in range(0, lines, _WRITE_LINES):
        numbers = range(begin, min(begin + _WRITE_LINES, lines))
        yield b"".join(b"%d%b" % (first + number, endings[number % len(endings)]) for number in numbers)
