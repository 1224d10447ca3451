"""MariaDB's Ed25519 signature: RFC 8032's vectors, and against the `cryptography` library where both can sign."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.ed25519 import CHALLENGE_BYTES, sign

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("secret", "message", "signature"), RFC_8032)
def test_the_vectors_of_the_rfc(secret: str, message: str, signature: str) -> None:
    assert sign(bytes.fromhex(secret), bytes.fromhex(message)).hex() == signature


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=CHALLENGE_BYTES, max_size=CHALLENGE_BYTES))
def test_a_password_of_32_bytes_signs_as_every_library_does(password: bytes, challenge: bytes) -> None:
    assert sign(password, challenge) == Ed25519PrivateKey.from_private_bytes(password).sign(challenge)


@pytest.mark.parametrize("password", [b"", b"x", b"a password longer than thirty-two bytes of a seed"])
def test_passwords_of_other_lengths_sign_too(password: bytes) -> None:
    assert len(sign(password, bytes(CHALLENGE_BYTES))) == 64
