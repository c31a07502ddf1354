"""Durable truth: the only owner of files and object stores.

Rooms, in reading order: pb, errors, limits, names, formats, patience, medium, directory, state_directory, checkpoint, drift_files, copies,
objects, blobs, yaml_text, gate, contract, schema, autocorrelation, profile, golden, golden_file, packed, training, queueing, providers,
serving, ports, warmup, manifest, parts, signatures, entries, head, journal, versions, leases, fencing, trigger_entries, triggers,
rollout_entries, rollout_claims, rollouts, rollout_tips, evidence, policy, aliases, deletion, sealed, compiled, verified, store, constants,
scanner, onnx_model, submission, confinement, niceness, trial, trial_child, trials, trials_child, columns, edges, categories, windows,
calibration, profiling, arrow_values, rows, row_stream, answer_file, answers, reference, log_layout, commit_chain, label, label_files,
label_ids, labels, label_merging, label_source, publish, reprofile, imported, triton_fields, triton_session, triton_config, overlay,
repository, single, import_triton, import_mlflow, desired, watch, discovery, gc, verify, transfer, backup, frames, log_accounts, log_ledger,
log_segment, log_rows, log_columns, log_parquet, log_commits, log_stripping, log_sealing, log_erasing, log_keeping, log_totals, log_upload,
log.

`state_directory` and `checkpoint` are what a server keeps for itself; the rest is the registry. Up to `store` it is what a registry holds
and how it stays whole; up to `reprofile` what may become a version, and the reference that its traffic is held against; then where models
come from, and how all of it is checked again.
Importing a room imports neither onnx nor onnxruntime, which the child process of a trial does, nor pyarrow.
"""
