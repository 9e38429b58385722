"""Audits: what kind 'audit' can ask; one file each, made of the parts in `skinjax/auditing`.

An audit module `skinjax/audits/NAME.py` has DEFAULTS and `build(config) -> Audit`: a function from
the work directory, where it may leave tables and figures, to the contents of results.json and the
sections of the report.
"""
