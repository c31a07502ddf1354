"""Signatures over manifests: made, checked, kept beside the version."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RegistryError
from registry.manifest import Manifest
from registry.names import blob_key, digest_of
from registry.signatures import PrivateKey, Trusted, attach, attached, generate, pae, private_key, public_key, sign, trusted, verify
from registry.store import Store

KEY, OTHER = generate(), generate()
MANIFEST = b'{"schemaVersion":2}'


def _other_curve() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_pae_is_dsses_own() -> None:
    """The example of DSSE's protocol.md."""
    assert b"DSSEv1 29 http://example.com/HelloWorld 11 hello world" == pae("http://example.com/HelloWorld", b"hello world")


def test_signed_and_verified() -> None:
    """Only by the key that signed, only for the very bytes."""
    envelope = sign(MANIFEST, KEY)
    assert (KEY.public.key_id,) == verify(envelope, MANIFEST, [OTHER.public, KEY.public])
    assert () == verify(envelope, MANIFEST, [OTHER.public])
    assert () == verify(envelope, MANIFEST, [])


def test_the_envelope_is_plain_dsse() -> None:
    """Any DSSE verifier can check it: base64 payload, its type, ECDSA over the PAE."""
    envelope = json.loads(sign(MANIFEST, KEY))
    assert ["payload", "payloadType", "signatures"] == sorted(envelope)
    assert MANIFEST == base64.b64decode(envelope["payload"])
    signed = pae(envelope["payloadType"], MANIFEST)
    KEY.public.key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256()))
    assert KEY.public.key_id == envelope["signatures"][0]["keyid"]


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_is_vouched_for(place: int, bit: int) -> None:
    """In the manifest or in the envelope: a refusal, no signer, or a bit of the hint or the base64 that says the same."""
    envelope = sign(MANIFEST, KEY)
    changed = bytearray(MANIFEST)
    changed[place % len(changed)] ^= 1 << bit
    assert () == _outcome(envelope, bytes(changed))
    flipped = bytearray(envelope)
    flipped[place % len(flipped)] ^= 1 << bit
    assert _outcome(bytes(flipped), MANIFEST) in {(), (KEY.public.key_id,)}
    start = envelope.index(b'"sig":"') + 7
    flipped = bytearray(envelope)
    flipped[start + place % 80] ^= 1 << (bit % 5)
    assert () == _outcome(bytes(flipped), MANIFEST)


def _outcome(envelope: bytes, manifest: bytes) -> tuple[str, ...]:
    try:
        return verify(envelope, manifest, [KEY.public, OTHER.public])
    except RegistryError:
        return ()


@pytest.mark.parametrize(
    ("envelope", "text"),
    [
        (b"", "this is no signature: "),
        (b"{}", "this is no signature: "),
        (b"\xff", "this is no signature: "),
        (json.dumps({"payload": "", "payloadType": "x", "signatures": []}).encode(), "this is no signature: "),
        (json.dumps({"payload": "", "payloadType": "x", "signatures": [{"sig": ""}] * 65}).encode(), "this is no signature: "),
        (b" " * (5 << 20), "a signature has more than 4194304 bytes"),
        (sign(b"{}", KEY), "the signature is of other content than the manifest"),
        (sign(MANIFEST, KEY).replace(b"image.manifest", b"image.index"), "the signature is of other content than the manifest"),
        (sign(MANIFEST, KEY).replace(b'"payload":"', b'"payload":"%'), "a signature is not base64"),
        (sign(MANIFEST, KEY).replace(b'"sig":"', b'"sig":"%'), "a signature is not base64"),
    ],
)
def test_refused_envelopes(envelope: bytes, text: str, kind_of: Callable[..., str]) -> None:
    """What is no envelope, and one of something else."""
    assert kind_of(lambda: verify(envelope, MANIFEST, [KEY.public])).startswith("damaged: " + text)


def test_a_hint_is_no_proof() -> None:
    """Another key's signature under a trusted key's id counts for neither; one without an id is tried with every key."""
    forged = json.loads(sign(MANIFEST, OTHER))
    forged["signatures"][0]["keyid"] = KEY.public.key_id
    assert () == verify(json.dumps(forged).encode(), MANIFEST, [KEY.public, OTHER.public])
    del forged["signatures"][0]["keyid"]
    assert (OTHER.public.key_id,) == verify(json.dumps(forged).encode(), MANIFEST, [KEY.public, OTHER.public])


def test_several_signatures_in_one_envelope() -> None:
    """As other tools write them, with fields of their own and URL-safe base64."""
    first, second = json.loads(sign(MANIFEST, KEY)), json.loads(sign(MANIFEST, OTHER))
    second["signatures"][0]["sig"] = second["signatures"][0]["sig"].replace("+", "-").replace("/", "_")
    first["signatures"] += second["signatures"]
    first["signatures"][0]["cert"] = "x"
    assert tuple(sorted([KEY.public.key_id, OTHER.public.key_id])) == verify(
        json.dumps(first).encode(), MANIFEST, [KEY.public, OTHER.public]
    )


class TestKeys:
    """PEM in, PEM out, P-256 only."""

    def test_round_trip(self) -> None:
        """With and without a password; the id depends on the public key alone."""
        assert KEY.public.key_id == private_key(KEY.pem()).public.key_id == public_key(KEY.public.pem()).key_id
        assert KEY.public.key_id == private_key(KEY.pem(password=b"secret"), password=b"secret").public.key_id
        assert KEY.public.key_id != OTHER.public.key_id

    @pytest.mark.parametrize("password", [None, b"wrong"])
    def test_a_wrong_password(self, password: bytes | None, kind_of: Callable[..., str]) -> None:
        """Named without saying which of the two it was."""
        text = "unsupported: this is no private key in PEM, or the password does not open it"
        assert text == kind_of(lambda: private_key(KEY.pem(password=b"secret"), password=password))

    def test_other_keys(self, kind_of: Callable[..., str]) -> None:
        """Another algorithm, another curve, no key."""
        pem = serialization.Encoding.PEM
        for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())):
            private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
            assert "not one for ECDSA with P-256" in kind_of(lambda content=private: private_key(content))  # type: ignore[misc]
            assert "not one for ECDSA with P-256" in kind_of(lambda content=public: public_key(content))  # type: ignore[misc]
        assert "unsupported: this is no public key in PEM" == kind_of(lambda: public_key(KEY.pem()))
        assert kind_of(lambda: private_key(b"")).startswith("unsupported: this is no private key in PEM")


class TestKept:
    """Envelopes beside the blobs, by the digest of their manifest."""

    def test_signers(self, store: Store) -> None:
        """Over all envelopes; attaching twice is attaching once; another manifest has its own."""
        digest = digest_of(MANIFEST)
        envelope = sign(MANIFEST, KEY)
        key = attach(store.medium, digest, envelope)
        assert key == attach(store.medium, digest, envelope)
        attach(store.medium, digest, sign(MANIFEST, OTHER))
        assert (key, envelope) in list(attached(store.medium, digest))
        assert 2 == len(list(attached(store.medium, digest)))
        both = Trusted((KEY.public, OTHER.public))
        assert {KEY.public.key_id, OTHER.public.key_id} == both(store.medium, digest, MANIFEST)
        assert {KEY.public.key_id} == Trusted((KEY.public,))(store.medium, digest, MANIFEST)
        assert set() == both(store.medium, digest_of(b"{}"), b"{}")
        assert [] == store.medium.names(blob_key(digest).rpartition("/")[0])

    def test_damage(self, store: Store, kind_of: Callable[..., str]) -> None:
        """A changed envelope is found before it is read, and what is no envelope is not kept."""
        assert kind_of(lambda: attach(store.medium, digest_of(MANIFEST), b"{}")).startswith("damaged: this is no signature")
        text = "damaged: the signature is of other content than the manifest"
        assert text == kind_of(lambda: attach(store.medium, digest_of(MANIFEST), sign(b"{}", KEY)))
        strange = sign(MANIFEST, KEY).replace(b"image.manifest", b"image.index")
        assert text == kind_of(lambda: attach(store.medium, digest_of(MANIFEST), strange))
        path = store.medium.root / attach(store.medium, digest_of(MANIFEST), sign(MANIFEST, KEY))
        path.chmod(0o644)
        path.write_bytes(sign(MANIFEST, OTHER))
        text = f"damaged: signatures/{digest_of(MANIFEST)[7:]}/{path.name} does not hold what its name says"
        trust = Trusted((KEY.public, OTHER.public))
        assert text == kind_of(lambda: trust(store.medium, digest_of(MANIFEST), MANIFEST))
        text = f"damaged: {blob_key(digest_of(b'{}'))} does not hold what its name says"
        assert text == kind_of(lambda: trust(store.medium, digest_of(b"{}"), MANIFEST))


class TestTrusted:
    """Keys from files, and what a policy makes of them."""

    def test_files(self, tmp_path: Path) -> None:
        """One key a file; the same key in two files is one."""
        assert (KEY.public.key_id, OTHER.public.key_id) == tuple(key.key_id for key in trusted(_files(tmp_path, KEY, OTHER, KEY)).keys)
        assert () == trusted([]).keys

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (None, "storage: cannot read the key in PATH: No such file or directory"),
            (b"", "unsupported: PATH: this is no public key in PEM"),
            (KEY.pem(), "unsupported: PATH: this is no public key in PEM"),
            (KEY.public.pem() + OTHER.public.pem(), "unsupported: PATH: there is more than one key"),
            (b"\n" * (65 << 10), "unsupported: PATH: a key has at most 65536 bytes"),
            (_other_curve(), "unsupported: PATH: the public key is not one for ECDSA with P-256"),
        ],
    )
    def test_refused_files(self, tmp_path: Path, content: bytes | None, text: str, kind_of: Callable[..., str]) -> None:
        """The file is named, and no key of the others is used without it."""
        path = tmp_path / "odd.pem"
        if content is not None:
            path.write_bytes(content)
        assert text.replace("PATH", str(path)) == kind_of(lambda: trusted([*_files(tmp_path, KEY), path]))

    @pytest.mark.parametrize("case", ["nobody", "another key", "another manifest", "trusted, not required", "not trusted"])
    def test_refused(self, signed: Store, tmp_path: Path, case: str, kind_of: Callable[..., str]) -> None:
        """At the move and at the load: what the policy asks for is missing, whatever else lies there."""
        digest = signed.record("m", 1).manifest
        manifest = signed.read_blob(digest)
        if case == "another manifest":
            second = signed.record("m", 2).manifest
            attach(signed.medium, second, sign(signed.read_blob(second), KEY))
        elif case != "nobody":
            attach(signed.medium, digest, sign(manifest, KEY if case == "not trusted" else OTHER))
        keys = {"trusted, not required": (KEY, OTHER), "not trusted": (OTHER,)}.get(case, (KEY,))
        store = Store.open(signed.medium.root, signers=trusted(_files(tmp_path, *keys)))
        missing = f"the signature of key '{KEY.public.key_id}' is missing"
        assert f"policy: alias 'champion' of model 'm' is protected: {missing}" == kind_of(lambda: _promote(store))
        assert f"policy: {missing}" == kind_of(lambda: store.load_verified("m", 1))
        assert {} == store.aliases("m").all()

    def test_accepted(self, signed: Store, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """Once the required key has signed, also beside another's signature; the version beside it gains nothing."""
        digest = signed.record("m", 1).manifest
        for key in (OTHER, KEY):
            attach(signed.medium, digest, sign(signed.read_blob(digest), key))
        store = Store.open(signed.medium.root, signers=trusted(_files(tmp_path, KEY)))
        _promote(store)
        store.load_verified("m", 1).close()
        assert f"policy: the signature of key '{KEY.public.key_id}' is missing" == kind_of(lambda: store.load_verified("m", 2))

    @pytest.mark.parametrize("case", ["cut", "of another manifest"])
    def test_a_damaged_envelope(self, signed: Store, tmp_path: Path, case: str, kind_of: Callable[..., str]) -> None:
        """It is named and refuses move and load, although the right signature lies beside it."""
        first, second = (signed.record("m", version).manifest for version in (1, 2))
        attach(signed.medium, first, sign(signed.read_blob(first), KEY))
        envelope = sign(signed.read_blob(first if case == "cut" else second), KEY)
        key = f"signatures/{first[7:]}/{digest_of(envelope)[7:]}.json"
        assert signed.medium.create(key, envelope)
        text = f"damaged: {key}: the signature is of other content than the manifest"
        if case == "cut":
            path = signed.medium.root / key
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1])
            text = f"damaged: {key} does not hold what its name says"
        store = Store.open(signed.medium.root, signers=trusted(_files(tmp_path, KEY)))
        assert text == kind_of(lambda: _promote(store))
        assert text == kind_of(lambda: store.load_verified("m", 1))


@pytest.fixture
def signed(store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> Store:
    """Versions 1 and 2 of m in a registry that asks for a signature by `KEY`."""
    for content in (b"one", b"two"):
        store.add_version("m", put_manifest(store, content), publish_id=content.decode(), publisher="pat", now_s=1e9)
    required = f"{{require_signatures: ['{KEY.public.key_id}']}}"
    (store.medium.root / "policy.yaml").write_text(f"{{format: 2, aliases: {{champion: {required}}}, load: {required}}}")
    return store


def _files(directory: Path, *keys: PrivateKey) -> list[Path]:
    paths = [directory / f"{number}.pem" for number in range(len(keys))]
    for path, key in zip(paths, keys, strict=True):
        path.write_bytes(key.public.pem())
    return paths


def _promote(store: Store) -> None:
    store.aliases("m").move("champion", to=1, expected_from=None, actor="ann", reason="", now_s=1e9)
