"""What audits leave in their work directory: figures, tables of rows, and tables on the screen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skinjax.data.writing import write_csv
from skinjax.document import Table
from skinjax.tables import console_table


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows as CSV; an interval becomes three columns: NAME, NAME_low and NAME_high."""
    write_csv(path, [_flat(row) for row in rows])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {name if key == 'value' else f'{name}_{key}': v for key, v in value.items()}
        else:
            flat[name] = value
    return flat


def say(tables: Sequence[Table]) -> None:
    """Prints tables."""
    for table in tables:
        print(f'{table.caption}\n{console_table(table.header, table.rows)}', flush=True)
