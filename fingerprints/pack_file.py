"""The file that packs travel in: a zip with one canonical manifest and one plain .npy member per array.

`packs_bytes` writes packs, at most one per kind; `read_packs` takes the bytes of a stranger's file and gives packs whose every digest
holds, or PackError with one line, within fixed bounds on memory. Nothing is unpickled, and no member is ever written to a disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from fingerprints.packs import DTYPES, KINDS, MAX_ARRAY_BYTES, MAX_ARRAYS, NotAPackError, Pack, PackError, canonical, pack_from, section

FORMAT = "truename.pack/1"
MAX_FILE_BYTES = 128_000_000
MAX_UNPACKED_BYTES = 256_000_000
"""Of all members together: a small zip may unpack to anything."""
MAX_MANIFEST_BYTES = 32_000_000
_MAX_SIGNATURE_BYTES = 2_000
_MAX_NPY_HEADER = 1_000
_MAX_MEMBERS = 2 + MAX_ARRAYS * len(KINDS)

_MANIFEST, _SIGNATURE = "manifest.json", "signature.json"
_MEMBER = re.compile(rf"arrays/({'|'.join(KINDS)})/[a-z][a-z0-9_]{{0,63}}\.npy")
_HEX = {"public_key": re.compile(r"[0-9a-f]{64}"), "signature": re.compile(r"[0-9a-f]{128}")}
# The earliest that a zip can say: the same packs give the same bytes whenever they are written.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Signature:
    """An Ed25519 signature over a manifest, as it stands in a file. verifier.pack_files checks it whenever it reads one."""

    public_key: str
    """32 bytes, hex."""
    signature: str
    """64 bytes, hex."""


def packs_bytes(packs: Sequence[Pack], sign: Callable[[bytes], Signature] | None = None) -> bytes:
    """The file that holds `packs`, the same bytes for the same packs. `sign` is given the manifest.

    Raises PackError for no pack, or two of one kind."""
    ordered = sorted(packs, key=lambda pack: KINDS.index(pack.kind))
    if not ordered or len({pack.kind for pack in ordered}) < len(ordered):
        raise PackError("a pack file holds one pack, or one of each kind")
    manifest = canonical({"format": FORMAT, "packs": [section(pack) for pack in ordered]})
    members = [(_MANIFEST, manifest)]
    if sign is not None:
        made = sign(manifest)
        members.append((_SIGNATURE, canonical({"algorithm": "ed25519", "public_key": made.public_key, "signature": made.signature})))
    members += [(f"arrays/{pack.kind}/{name}.npy", _npy_bytes(array)) for pack in ordered for name, array in pack.arrays.items()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def pack_bytes(pack: Pack) -> bytes:
    """The file that holds one pack."""
    return packs_bytes((pack,))


def read_packs(data: bytes) -> tuple[Pack, ...]:
    """The packs of a file, every digest checked. Raises PackError for anything else, whatever the bytes are."""
    members = _members(data)
    manifest = _manifest(members)
    packs = []
    unread = set(members) - {_MANIFEST, _SIGNATURE}
    for described in manifest:
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name, what in _described_arrays(described).items():
            member = f"arrays/{described['kind']}/{name}.npy"
            if member not in unread:
                raise PackError(f"the pack file lacks the array {name!r:.80}")
            unread.remove(member)
            arrays[name] = _read_npy(members[member], name, what)
        packs.append(pack_from(described, arrays))
    if unread:
        raise PackError("the pack file holds arrays that its manifest does not name")
    if len({pack.kind for pack in packs}) < len(packs):
        raise PackError("the pack file holds two packs of one kind")
    return tuple(packs)


def read_pack(data: bytes) -> Pack:
    """The pack of a file that holds one. Raises PackError as `read_packs` does, and where there are several."""
    packs = read_packs(data)
    if len(packs) != 1:
        raise PackError("the pack file holds several packs where one is expected")
    return packs[0]


def signature_of(data: bytes) -> tuple[Signature, bytes] | None:
    """The signature that a file carries and the bytes that it should be over, for the caller to check; None for an unsigned file.

    Raises PackError."""
    members = _members(data)
    raw = members.get(_SIGNATURE)
    if raw is None:
        return None
    value = _json(raw, _SIGNATURE)
    if not isinstance(value, dict) or set(value) != {"algorithm", *_HEX} or value["algorithm"] != "ed25519" or canonical(value) != raw:
        raise PackError("the pack file's signature is not an Ed25519 signature")
    for name, form in _HEX.items():
        if not isinstance(value[name], str) or not form.fullmatch(value[name]):
            raise PackError("the pack file's signature is not an Ed25519 signature")
    return Signature(value["public_key"], value["signature"]), members[_MANIFEST]


def _members(data: bytes) -> dict[str, bytes]:
    """Every member's bytes, within the caps. Raises PackError."""
    if len(data) > MAX_FILE_BYTES:
        raise PackError(f"the pack file is larger than {MAX_FILE_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries)
            members = {entry.filename: _unpacked(archive, entry) for entry in entries}
    except PackError:
        raise
    except Exception:  # zipfile lets through whatever its parts raise on bytes that were made to mislead it
        raise NotAPackError("the file is not a pack: its zip container cannot be read") from None
    if _MANIFEST not in members:
        raise NotAPackError("the file is not a pack: it has no manifest")
    return members


def _check_entries(entries: Sequence[zipfile.ZipInfo]) -> None:
    if len(entries) > _MAX_MEMBERS:
        raise PackError(f"the pack file has more than {_MAX_MEMBERS} members")
    if len({entry.filename for entry in entries}) < len(entries):
        raise PackError("the pack file names a member twice")
    for entry in entries:
        cap = {_MANIFEST: MAX_MANIFEST_BYTES, _SIGNATURE: _MAX_SIGNATURE_BYTES}.get(entry.filename, MAX_ARRAY_BYTES + _MAX_NPY_HEADER)
        if entry.filename not in (_MANIFEST, _SIGNATURE) and not _MEMBER.fullmatch(entry.filename):
            raise PackError(f"the pack file has a member that no pack has: {entry.filename!r:.100}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 0x1:
            raise PackError("the pack file has a member that is encrypted or compressed in another way than deflate")
        if entry.file_size > cap:
            raise PackError(f"the pack file's member {entry.filename} is larger than {cap} bytes")
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise PackError(f"the pack file unpacks to more than {MAX_UNPACKED_BYTES} bytes")


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """A member's bytes, never more than its header says."""
    with archive.open(entry) as stream:
        data = stream.read(entry.file_size)
        if len(data) != entry.file_size or stream.read(1):
            raise PackError(f"the pack file's member {entry.filename} has another size than it says")
    return data


def _manifest(members: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The sections of the manifest, whose bytes must be its canonical form: no duplicate keys, no spare spaces."""
    raw = members[_MANIFEST]
    value = _json(raw, "manifest")
    if not isinstance(value, dict) or set(value) != {"format", "packs"}:
        raise NotAPackError("the file is not a pack: its manifest has other fields")
    if value["format"] != FORMAT:
        raise PackError(f"the pack file has the format {value['format']!r:.60}, and this version reads {FORMAT}")
    if canonical(value) != raw:
        raise PackError("the pack file's manifest is not in canonical form")
    packs = value["packs"]
    if not isinstance(packs, list) or not 0 < len(packs) <= len(KINDS):
        raise PackError("the pack file's manifest lists no packs, or too many")
    return packs


def _json(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise PackError(f"the pack file's {what} is not JSON") from None


def _described_arrays(described: Any) -> dict[str, dict[str, Any]]:
    arrays = described.get("arrays") if isinstance(described, dict) else None
    if not isinstance(arrays, dict) or len(arrays) > MAX_ARRAYS or described.get("kind") not in KINDS:
        raise PackError("the pack file's manifest does not describe a pack's arrays")
    for name, what in arrays.items():
        told = isinstance(what, dict) and set(what) == {"dtype", "shape", "sha256"} and isinstance(what["dtype"], str)
        if not told or what["dtype"] not in DTYPES:
            raise PackError(f"the pack file's manifest does not describe the array {name!r:.80}")
        shape = what["shape"]
        plain = isinstance(shape, list) and len(shape) <= 4 and all(type(side) is int and side >= 0 for side in shape)
        if not plain or math.prod(max(side, 1) for side in shape) > MAX_ARRAY_BYTES:
            raise PackError(f"the array {name!r:.80} has a shape that packs do not hold")
    return arrays


def _npy_bytes(array: npt.NDArray[Any]) -> bytes:
    out = io.BytesIO()
    npy.write_array(out, array, version=(1, 0), allow_pickle=False)
    return out.getvalue()


def _read_npy(data: bytes, name: str, what: Mapping[str, Any]) -> npt.NDArray[Any]:
    """The array in a member, whose header must say what the manifest says. Raises PackError."""
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        shape, fortran, dtype = npy.read_array_header_1_0(stream, max_header_size=_MAX_NPY_HEADER)
    except Exception:  # numpy evaluates the header as a literal, and lets through what that raises
        raise PackError(f"the array {name} has no header that numpy reads") from None
    if version != (1, 0) or fortran or dtype.str != what["dtype"] or list(shape) != what["shape"]:
        raise PackError(f"the array {name} has another type or shape than the manifest says")
    body = data[stream.tell() :]
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise PackError(f"the array {name} has another size than its shape says")
    if hashlib.sha256(body).hexdigest() != what["sha256"]:
        raise PackError(f"the array {name} does not have the digest that the manifest names")
    return np.frombuffer(body, dtype=dtype).reshape(shape)
