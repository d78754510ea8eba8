"""Kinds of keys, files and kits, as commands and columns spell them. This module is cheap to import."""

from __future__ import annotations

from enum import StrEnum


class KeyKind(StrEnum):
    """A kind of key that the desk makes."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"


class Signs(StrEnum):
    """The certificates that an authority may sign."""

    PEOPLE = "people"  # clientAuth and emailProtection
    SERVERS = "servers"  # serverAuth
    ALL = "all"  # no limit


class P12Format(StrEnum):
    """Which devices a PKCS#12 file is for."""

    COMPAT = "compat"  # 3DES and SHA-1
    MODERN = "modern"  # AES-256 and SHA-256


class CodePage(StrEnum):
    """A Windows code page, in which older programs write lists."""

    WESTERN = "windows-1252"
    CENTRAL = "windows-1250"

    @property
    def codec(self) -> str:
        """Python's name for it."""
        return f"cp{self.value.partition('-')[2]}"


class Language(StrEnum):
    """A language of letters (RFC 5646)."""

    ENGLISH = "en"
    GERMAN = "de"
    CZECH = "cs"


class KitKind(StrEnum):
    """The device or program that a kit is for."""

    IOS = "ios"
    MACOS = "macos"
    WINDOWS = "windows"
    ANDROID = "android"
    FIREFOX = "firefox"
    CHROME = "chrome"
    THUNDERBIRD = "thunderbird"
