"""Editors in a chain: images of a data set changed before anything else sees them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skinjax import config as configs
from skinjax import kinds, rundir
from skinjax.data.records import DataSet, Records, choices
from skinjax.editors import Editor, Example


def chain(config: Any) -> Editor:
    """The editors of `config.chain`, one after the other, with their options in `config.editors`.

    Raises:
        ValueError: an unknown editor or option, or 'style', whose images are no purified ones.
        FileNotFoundError: a run that an editor needs does not exist.
    """
    editors = []
    for name in config.chain:  # one may stand there twice
        if name == 'style':
            raise ValueError(
                "config.chain: 'style' makes images that are to be judged, and marked as made: use "
                "kind 'generate' with a style (configs/stylise.py)"
            )
        section = config.editors.get(kinds.editor_key(name))
        if section is None:
            raise ValueError(f'config.chain: no editor {name!r}; {choices(name, config.editors)}')
        editors.append(built(name, section))

    def edit(examples: Sequence[Example]) -> list[Example]:
        edited = list(examples)
        for editor in editors:
            edited = editor(edited)
        return edited

    return edit


def built(name: str, section: Any) -> Editor:
    """One editor with its options; errors say which one it is.

    Raises:
        ValueError, FileNotFoundError: as the editor's.
    """
    try:
        return configs.find('editors', name).build(section)
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f'editor {name!r}: {error}') from error


def named(name: str) -> Editor:
    """The chain of a run of kind 'purify', by its directory; or one editor with its defaults.

    Args:
        name: directory, EDITOR, or EDITOR:VARIANT with a name of the editor's `VARIANTS`.

    Raises:
        ValueError, FileNotFoundError: neither, no such variant, or as `chain`.
    """
    editor, _, variant = name.partition(':')
    if variant and editor in configs.siblings('editors'):
        return chain(_with_variant(editor, variant))
    if '/' in name and not Path(name).is_dir():
        raise FileNotFoundError(f"{name} does not exist: name an editor or a run of kind 'purify'")
    if name in configs.siblings('editors') or not Path(name).is_dir():
        return chain(kinds.purify(editors=(name,)))
    run = rundir.read_run(name)
    if run.get('kind') != 'purify':
        raise ValueError(f"{name} is of kind {run.get('kind')!r}: name a run of kind 'purify'")
    return chain(run)


def _with_variant(editor: str, variant: str) -> Any:
    """The config of kind 'purify' for a variant of one editor."""
    variants = getattr(configs.find('editors', editor), 'VARIANTS', {})
    if variant not in variants:
        raise ValueError(
            f'editor {editor!r} has no variant {variant!r}; {choices(variant, variants)}'
        )
    fields = {f'editors.{editor}.{field}': value for field, value in variants[variant].items()}
    return configs.override(kinds.purify(editors=(editor,)), fields)


def edited(records: Records, editor: Editor) -> Records:
    """The records whose images `editor` has changed."""
    return dataclasses.replace(records, read=lambda row: editor([records.read(row)])[0])


def edited_data(data: DataSet, editor: Editor) -> DataSet:
    """The data set whose images `editor` has changed, in all splits."""
    splits = {name: edited(records, editor) for name, records in data.splits.items()}
    return dataclasses.replace(data, splits=splits)
