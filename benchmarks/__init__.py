"""Benchmarks: one module per question, each with its baseline beside it in the same run. Not part of the wheel.

Rooms, in reading order: models, load, peers, environments, replayer, machine, processes, scrape, workloads, runs,
measures, bars, lifecycle, render, serving, reload, drift_streams,
drift_alarms, detect.
"""
