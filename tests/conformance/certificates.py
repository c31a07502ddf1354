"""A throw-away authority, with one certificate for the server on 127.0.0.1 and one for a client that it shall trust.

Writes ca.pem, server.pem, server.key, client.pem, client.key; and stranger.pem, stranger.key from an authority that nobody trusts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trustme


def write(folder: Path) -> None:
    """Fill `folder` with the files above."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    leaves = {
        "server": authority.issue_cert("127.0.0.1", "localhost"),
        "client": authority.issue_cert("client@conformance"),
        "stranger": stranger.issue_cert("stranger@conformance"),
    }
    for name, leaf in leaves.items():
        leaf.private_key_pem.write_to_path(folder / f"{name}.key")
        (folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
