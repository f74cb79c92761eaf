"""Tickets that cross a place where others may read later: the ticket itself is needed to open its content.

The journal of several machines keeps the notes of its nodes on disks. A node that asks for a ticket proves that it has
the ticket, which the note does not contain, and the answer is encrypted with a key that is made from the ticket.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidings.access.tickets import TICKET_PREFIX

_NAME_LENGTH = len(TICKET_PREFIX) + 8
_NONCE = bytes(12)
"""The same each time: a ticket is used once, and its key with it."""


def name_of_ticket(value: str) -> str:
    """Return the part of a ticket by which its issuer finds it: 48 of its 192 random bits."""
    return value[:_NAME_LENGTH]


def prove_ticket(value: str) -> str:
    """Return a proof that only the ticket gives, and from which no one can make the ticket."""
    return hashlib.sha256(b"tidings ticket proof " + value.encode()).hexdigest()


def is_proven(value: str, proof: str) -> bool:
    """Return whether a proof is that of a ticket."""
    return hmac.compare_digest(prove_ticket(value), proof)


def seal(value: str, content: bytes) -> bytes:
    """Return the content that belongs to a ticket, encrypted. To be called once for a ticket."""
    return AESGCM(_key_of(value)).encrypt(_NONCE, content, None)


def open_sealed(value: str, sealed: bytes) -> bytes:
    """Return the content that `seal` encrypted for the same ticket.

    Raises:
        ValueError: It was encrypted for another one, or changed.
    """
    try:
        return AESGCM(_key_of(value)).decrypt(_NONCE, sealed, None)
    except InvalidTag as cause:
        raise ValueError("the sealed content belongs to another ticket") from cause


def _key_of(value: str) -> bytes:
    return hashlib.sha256(b"tidings ticket key " + value.encode()).digest()
