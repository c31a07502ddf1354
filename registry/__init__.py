"""Durable truth: the only owner of files and object stores.

Rooms, in reading order: errors, limits, names, formats, patience, medium, directory, objects, blobs, contract, manifest, entries, head,
journal, versions, leases, evidence, policy, aliases, deletion, sealed, verified, store, onnx_model, submission, trial, trial_child,
publish, repository, desired, watch, discovery, gc, verify, transfer, backup.

Up to `store` it is what a registry holds and how it stays whole; up to `publish` what may become a version; then where models come from,
and how all of it is checked again. Importing a room imports neither onnx nor onnxruntime: `publish` does the first when it is called, the
child process of a trial the second.
"""
