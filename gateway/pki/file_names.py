"""File names made from people's names: different people have different file names, on every file system.

An ordinary name is used unchanged: an address, with a device of plain words and a use, or a host. In any other name,
unsafe characters are replaced, and `+` and a hash of the whole name follow: `a!b@…` and `a#b@…` have different files.
An ordinary name has a `+` only before its `@`. As everywhere at the desk, names that differ only in case are the same.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from gateway.pki.names import name_key

# File names have at most 255 bytes; hash, serial, suffix and the mark of a file that is being written need the rest.
MAX_STEM_CHARACTERS: Final = 160
HASH_CHARACTERS: Final = 16  # 64 bits: too many to find, by trying, an address that gets another person's file name
USES: Final = ("auth", "smime", "signing", "encryption")

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9@._+-]+")
# The last label has no hyphen (but xn--), so that the first one after it begins the device or use.
_EMAIL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*@(?:[a-z0-9-]+\.)*(?:xn--)?[a-z0-9]+")
_DEVICE: Final = re.compile(r"[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")
_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9][a-z0-9-]*(?:\.[a-z0-9-]+)*")
# Windows opens a device for such a name, with anything after its first dot.
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)


def file_stem(name: str, device: str | None = None, use: str | None = None) -> str:
    """The beginning of a file name, one for each name, device and use: no separators, no hidden files, no options."""
    joined = unicodedata.normalize("NFC", "-".join(part for part in (name, device, use) if part))
    stem = _UNSAFE.sub("_", joined).lstrip(".-") or "certificate"
    is_reserved = _RESERVED.match(stem) is not None
    if is_ordinary(name, device, use) and not is_reserved and len(stem) <= MAX_STEM_CHARACTERS:
        return stem
    key = "\0".join(name_key(part or "") for part in (name, device, use))
    mark = hashlib.sha256(key.encode()).hexdigest()[:HASH_CHARACTERS]
    return f"{'_' * is_reserved}{stem[:MAX_STEM_CHARACTERS]}+{mark}"


def is_ordinary(name: str, device: str | None = None, use: str | None = None) -> bool:
    """Whether the file name needs no hash: no other name, device and use can make the same one."""
    if device is None and use is None and _HOST.fullmatch(name) is not None:
        return True
    is_plain = device is None or (_DEVICE.fullmatch(device) is not None and device.lower() not in USES)
    return is_plain and (use is None or use in USES) and _EMAIL.fullmatch(name) is not None
