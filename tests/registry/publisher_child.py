"""One of several processes that publish into one registry at once. Run by test_publishers.py.

Arguments: the registry, and publish ids. Publishes under each in turn and prints the version numbers as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from registry.contract import Contract, encode
from registry.manifest import CONFIG_TYPE, MODEL_FILE, MODEL_TYPE, Descriptor, file_layer, manifest_of
from registry.store import Store


def main(root: Path, publish_ids: list[str]) -> None:
    """Each publish has content of its own, so that blobs are created concurrently too."""
    store = Store.create(root)
    config_digest, config_size = store.put_blob(encode(Contract(ir_version=8, opsets={"": 17}, producer="", inputs=(), outputs=())))
    config = Descriptor(media_type=CONFIG_TYPE, digest=config_digest, size=config_size)
    numbers = []
    for publish_id in publish_ids:
        digest, size = store.put_blob(publish_id.encode())
        manifest = manifest_of(config, [file_layer(title=MODEL_FILE, media_type=MODEL_TYPE, digest=digest, size=size)])
        numbers.append(store.add_version("m", manifest, publish_id=publish_id, publisher="ann", now_s=1e9)[0])
    sys.stdout.write(json.dumps(numbers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
