"""Durable truth: the only owner of files and object stores.

Rooms, in reading order: pb, errors, limits, names, formats, patience, medium, directory, state_directory, checkpoint, copies, objects,
blobs, yaml_text, gate, contract, schema, golden, golden_file, training, queueing, providers, serving, ports, warmup, manifest, parts,
signatures, entries, head, journal, versions, leases, evidence, policy, aliases, deletion, sealed, compiled, verified, store, constants,
scanner, onnx_model, submission, confinement, niceness, trial, trial_child, trials, trials_child, publish, imported, triton_fields,
triton_session, triton_config, overlay, repository, single, import_triton, import_mlflow, desired, watch, discovery, gc, verify, transfer,
backup.

`state_directory` and `checkpoint` are what a server keeps for itself; the rest is the registry. Up to `store` it is what a registry holds
and how it stays whole; up to `publish` what may become a version; then where models come from, and how all of it is checked again.
Importing a room imports neither onnx nor onnxruntime: the child process of a trial does both.
"""
