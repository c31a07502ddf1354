"""Who vouches for a version: signatures over its manifest, kept beside it, so that they can be added later and the manifest never changes.

A signature is a DSSE envelope (secure-systems-lab/dsse, protocol.md and envelope.md) whose payload is the manifest, byte for byte; its
algorithm is ECDSA with P-256 and SHA-256. A key's id is the SHA-256 of its SubjectPublicKeyInfo. The manifest names every file by
digest, so a signature covers them all. It says nothing of names, numbers and aliases: a policy says which keys count for which of them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry.errors import Kind, RegistryError, damaged, storage_errors
from registry.manifest import MANIFEST_TYPE
from registry.medium import Medium
from registry.names import Digest, blob_key, digest_of

MAX_ENVELOPE_BYTES = 4 << 20
MAX_KEY_BYTES = 64 << 10  # of a file; a public key has some 180
MAX_SIGNATURES = 64  # in one envelope
_ALGORITHM = ec.ECDSA(hashes.SHA256())


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature, base64. `keyid` is a hint: it says which key to try, not that the key made it."""

    keyid: str = ""
    sig: str


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """DSSE's JSON. Other tools may add fields, which are passed over."""

    payload: str  # base64
    payload_type: str
    signatures: Annotated[tuple[Signature, ...], msgspec.Meta(min_length=1, max_length=MAX_SIGNATURES)]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are checked with."""

    key_id: Digest
    key: ec.EllipticCurvePublicKey

    def pem(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs."""

    public: PublicKey
    key: ec.EllipticCurvePrivateKey

    def pem(self, *, password: bytes | None = None) -> bytes:
        """PKCS #8, encrypted where a password is given."""
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def generate() -> PrivateKey:
    """A new key, from the operating system's randomness."""
    return _private(ec.generate_private_key(ec.SECP256R1()))


def private_key(pem: bytes, *, password: bytes | None = None) -> PrivateKey:
    """Read a key. Raises `Kind.UNSUPPORTED` for anything but a P-256 key that the password opens."""
    try:
        key = serialization.load_pem_private_key(pem, password=password)
    except (ValueError, TypeError) as error:
        raise _unsupported("this is no private key in PEM, or the password does not open it") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unsupported("the private key is not one for ECDSA with P-256")
    return _private(key)


def public_key(pem: bytes) -> PublicKey:
    """Read a key. Raises `Kind.UNSUPPORTED` for anything but one P-256 key."""
    if pem.count(b"-----BEGIN ") > 1:  # only the first would be read
        raise _unsupported("there is more than one key")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError) as error:
        raise _unsupported("this is no public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unsupported("the public key is not one for ECDSA with P-256")
    return _public(key)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed, so that type and payload cannot be moved against each other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(manifest: bytes, key: PrivateKey) -> bytes:
    """The envelope of a manifest. Two envelopes of one manifest and key differ: ECDSA takes a random number."""
    signature = key.key.sign(pae(MANIFEST_TYPE, manifest), _ALGORITHM)
    envelope = Envelope(
        payload=base64.b64encode(manifest).decode(),
        payload_type=MANIFEST_TYPE,
        signatures=(Signature(keyid=key.public.key_id, sig=base64.b64encode(signature).decode()),),
    )
    return msgspec.json.encode(envelope, order="deterministic")


def verify(envelope: bytes, manifest: bytes, trusted: Iterable[PublicKey]) -> tuple[Digest, ...]:
    """Ids of the trusted keys that signed exactly this manifest, sorted; none where no trusted key did.

    Raises `Kind.DAMAGED` for what is no envelope, or one of other content.
    """
    read = _envelope(envelope)
    if read.payload_type != MANIFEST_TYPE or _bytes(read.payload) != manifest:
        raise damaged("the signature is of other content than the manifest")
    signed = pae(MANIFEST_TYPE, manifest)
    candidates = [(_bytes(signature.sig), signature.keyid) for signature in read.signatures]
    found = {key.key_id for key in trusted for sig, hint in candidates if hint in {"", key.key_id} and _is_by(key, sig, signed)}
    return tuple(sorted(found))


# Where envelopes lie: beside the blobs, by the digest of the manifest


def attach(medium: Medium, manifest_digest: Digest, envelope: bytes) -> str:
    """Keep an envelope: its key. Keeping it again changes nothing. Raises `Kind.DAMAGED` for what is no envelope of that manifest."""
    _check_is_over(envelope, manifest_digest)
    key = f"{_directory(manifest_digest)}/{_file_name(envelope)}"
    if not medium.create(key, envelope):
        raise damaged(f"{key} does not hold what its name says")
    return key


def attached(medium: Medium, manifest_digest: Digest) -> Iterator[tuple[str, bytes]]:
    """(key, envelope) of every envelope that is kept for a manifest. Raises as `read_envelope`."""
    directory = _directory(manifest_digest)
    for name in medium.names(directory):
        yield f"{directory}/{name}", read_envelope(medium, manifest_digest, name)


def file_name(envelope_digest: Digest) -> str:
    """Of an envelope, in the directory of its manifest."""
    return f"{envelope_digest.removeprefix('sha256:')}.json"


def read_envelope(medium: Medium, manifest_digest: Digest, name: str) -> bytes:
    """One of the envelopes of a manifest, by file name.

    Raises `Kind.DAMAGED` naming it where it is not what its name says, or not over the manifest that it lies with.
    """
    key = f"{_directory(manifest_digest)}/{name}"
    content = medium.read(key)
    if content is None:
        raise damaged(f"{key} is missing")
    if _file_name(content) != name:
        raise damaged(f"{key} does not hold what its name says")
    with _naming(key):
        _check_is_over(content, manifest_digest)
    return content


@dataclass(frozen=True, slots=True)
class Trusted:
    """The keys whose signatures count. A `policy.Signers`, which `Store.open` takes as `signers`."""

    keys: tuple[PublicKey, ...]

    def __call__(self, medium: Medium, manifest: Digest, content: bytes) -> frozenset[Digest]:
        """Ids of the keys that signed the manifest with this digest and content, over all its envelopes.

        Raises `Kind.DAMAGED` naming the manifest or the envelope that is not what it must be.
        """
        if digest_of(content) != manifest:
            raise damaged(f"{blob_key(manifest)} does not hold what its name says")
        found: set[Digest] = set()
        for key, envelope in attached(medium, manifest):
            with _naming(key):
                found.update(verify(envelope, content, self.keys))
        return frozenset(found)


def trusted(paths: Iterable[Path]) -> Trusted:
    """The public keys in some PEM files, one each.

    Raises `RegistryError` naming the file: `Kind.STORAGE` where it cannot be read, `Kind.UNSUPPORTED` where it holds no P-256 key.
    """
    keys = {key.key_id: key for key in map(_key_in, paths)}
    return Trusted(tuple(keys.values()))


def _key_in(path: Path) -> PublicKey:
    with storage_errors(f"read the key in {path}"), path.open("rb") as file:
        content = file.read(MAX_KEY_BYTES + 1)
    if len(content) > MAX_KEY_BYTES:
        raise _unsupported(f"{path}: a key has at most {MAX_KEY_BYTES} bytes")
    with _naming(path):
        return public_key(content)


@contextmanager
def _naming(place: str | Path) -> Iterator[None]:
    """An error inside the block says where."""
    try:
        yield
    except RegistryError as error:
        raise RegistryError(error.kind, f"{place}: {error.message}") from error


def _check_is_over(envelope: bytes, manifest_digest: Digest) -> None:
    """Whoever signed it."""
    read = _envelope(envelope)
    if read.payload_type != MANIFEST_TYPE or digest_of(_bytes(read.payload)) != manifest_digest:
        raise damaged("the signature is of other content than the manifest")


def _file_name(envelope: bytes) -> str:
    return file_name(digest_of(envelope))


def _directory(manifest_digest: Digest) -> str:
    return f"signatures/{manifest_digest.removeprefix('sha256:')}"


def _private(key: ec.EllipticCurvePrivateKey) -> PrivateKey:
    return PrivateKey(_public(key.public_key()), key)


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(digest_of(der), key)


def _is_by(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.key.verify(signature, signed, _ALGORITHM)
    except InvalidSignature:
        return False
    return True


def _envelope(content: bytes) -> Envelope:
    if len(content) > MAX_ENVELOPE_BYTES:
        raise damaged(f"a signature has more than {MAX_ENVELOPE_BYTES} bytes")
    try:
        return msgspec.json.decode(content, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"this is no signature: {error}") from error


def _bytes(text: str) -> bytes:
    """DSSE lets base64 be the standard or the URL-safe one."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise damaged("a signature is not base64") from error


def _unsupported(message: str) -> RegistryError:
    return RegistryError(Kind.UNSUPPORTED, message)
