"""A finding of an audit, in plain words with numbers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

SEVERITIES = ('warning', 'note', 'fine', 'unknown')
SURE = 0.05  # q, as everywhere in the report
MANY = 0.05  # share of predictions that switch, and gap, from which a finding is a warning
LISTED = 3  # findings of one sort that are told


@dataclasses.dataclass(frozen=True)
class Finding:
    """One sentence or two.

    Attributes:
        severity: one of SEVERITIES: to act upon; to know; looked at and not found; not looked at.
        about: what was looked at: performance, groups, leaks, insertion, removal or clusters.
        text: in plain words.
        numbers: behind it.
    """

    severity: str
    about: str
    text: str
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
