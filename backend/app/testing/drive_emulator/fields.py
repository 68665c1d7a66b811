"""The `fields` parameter: `id,name,owners(emailAddress),capabilities/canEdit`, `files(id)`, `*`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from http import HTTPStatus

from app.testing.drive_emulator.errors import ApiRefusal

__all__ = ["FILE_FIELDS", "Mask", "parse_fields", "select"]

Mask = dict[str, "Mask | None"]
"""Names, each with what is wanted of it; None: all."""

FILE_FIELDS = frozenset(
    """appProperties capabilities clientEncryptionDetails contentHints contentRestrictions copyRequiresWriterPermission
    createdTime description downloadRestrictions driveId explicitlyTrashed exportLinks fileExtension folderColorRgb
    fullFileExtension hasAugmentedPermissions hasThumbnail headRevisionId iconLink id imageMediaMetadata
    inheritedPermissionsDisabled isAppAuthorized kind labelInfo lastModifyingUser linkShareMetadata md5Checksum mimeType
    modifiedByMe modifiedByMeTime modifiedTime name originalFilename ownedByMe owners parents permissionIds permissions
    properties quotaBytesUsed resourceKey sha1Checksum sha256Checksum shared sharedWithMeTime sharingUser shortcutDetails
    size spaces starred teamDriveId thumbnailLink thumbnailVersion trashed trashedTime trashingUser version
    videoMediaMetadata viewedByMe viewedByMeTime viewersCanCopyContent webContentLink webViewLink writersCanShare""".split()  # noqa: SIM905 - a list is easier to read and to compare so
)
_WORD = re.compile(r"\s*([A-Za-z0-9_]+|[*(),/])")


class _Words:
    def __init__(self, text: str) -> None:
        self._text = text
        self._words = []
        at = 0
        while at < len(text.rstrip()):
            if (word := _WORD.match(text, at)) is None:
                raise self.refusal()
            self._words.append(word[1])
            at = word.end()

    def refusal(self) -> ApiRefusal:
        return _bad(self._text)

    def peek(self) -> str:
        return self._words[0] if self._words else ""

    def take(self) -> str:
        if not self._words:
            raise self.refusal()
        return self._words.pop(0)


def _bad(selection: str) -> ApiRefusal:
    message = f"Invalid field selection {selection}"
    return ApiRefusal(HTTPStatus.BAD_REQUEST, "invalidParameter", message, location="fields")


def parse_fields(text: str) -> Mask:
    """The mask that a parameter asks for.

    Raises:
        ApiRefusal: it is not well-formed.
    """
    words = _Words(text)
    mask = _list(words)
    if words.peek():
        raise words.refusal()
    return mask


def _list(words: _Words) -> Mask:
    mask: Mask = {}
    while True:
        _merge(mask, *_item(words))
        if words.peek() != ",":
            return mask
        words.take()


def _item(words: _Words) -> tuple[str, Mask | None]:
    name = words.take()
    if name in set("(),/"):
        raise words.refusal()
    if words.peek() == "/":
        words.take()
        inner, wanted = _item(words)
        return name, {inner: wanted}
    if words.peek() == "(":
        words.take()
        mask = _list(words)
        if words.take() != ")":
            raise words.refusal()
        return name, mask
    return name, None


def _merge(mask: Mask, name: str, wanted: Mask | None) -> None:
    if name in mask and wanted is not None and (there := mask[name]) is not None:
        for inner, deeper in wanted.items():
            _merge(there, inner, deeper)
    elif name not in mask or wanted is None:
        mask[name] = wanted


def select(value: Mapping[str, object], mask: Mask, known: Collection[str]) -> dict[str, object]:
    """What the mask leaves of an object with these field names; a field without a value is just not there.

    Raises:
        ApiRefusal: it names a field that there is not.
    """
    for name in mask:
        if name != "*" and name not in known:
            raise _bad(name)
    if "*" in mask:
        return dict(value)
    return {name: _inside(value[name], wanted) for name, wanted in mask.items() if name in value}


def _inside(value: object, mask: Mask | None) -> object:
    if mask is None or "*" in mask:
        return value
    if isinstance(value, list):
        return [_inside(item, mask) for item in value]
    if isinstance(value, dict):
        return {name: _inside(value[name], wanted) for name, wanted in mask.items() if name in value}
    return value
