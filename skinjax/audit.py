"""Kind 'audit': an audit of data, or of a model with its data, as tables, figures and a report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinjax import config as configs
from skinjax import kinds, rundir
from skinjax.data.records import Records
from skinjax.document import Section, Table, write_report
from skinjax.engine.writer import read_json, write_atomic, write_json

if TYPE_CHECKING:
    from skinjax.auditing.functions import Explain, Predict


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Run the audit `config.audit` and write results.json and report.html into `workdir`.

    Returns:
        The contents of results.json.

    Raises:
        ValueError, FileNotFoundError: as the audit; or the directory holds something else.
    """
    if rundir.done(config, workdir):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_json(workdir / 'results.json')
    above = {field: config[field] for field in kinds.RUN if field in config}
    section = configs.make({**config.audit, **above})
    made = configs.find('audits', config.audit.name).build(section)
    with rundir.lock(workdir):
        rundir.claim(config, workdir)
        results, sections = made(workdir)
        return _publish(config, workdir, results, sections)


def audit(
    predict: 'Predict',
    records: Records | str | Path,
    workdir: str | Path,
    *,
    classes: Sequence[str] = (),
    bias: Mapping[str, Sequence[str]] | Sequence[str] = (),
    threshold: float = 0.5,
    explain: 'Explain | None' = None,
    name: str = 'model',
    batch_size: int = 32,
    image_size: int = 224,
    csv: str = 'records.csv',
    **options: Any,
) -> dict[str, Any]:
    """The audit report (`configs/audit.py`) of any model, as a plain function.

        def predict(images):                              # uint8 [b, h, w, 3], RGB
            return torch.sigmoid(net(prepare(images))).numpy()
        skinjax.audit.audit(predict, 'pictures', 'reports/net', image_size=224)

    An earlier audit of a function in `workdir` is replaced: functions cannot be compared.

    Args:
        predict: uint8 RGB images [b, h, w, 3] -> probability of the positive class [b] or [b, 1],
            or of each class [b, c], or a dictionary with these as 'probabilities' and perhaps
            'features' [b, d], whose leaks can then be told. It must be in evaluation mode.
        records: the images, or a folder of them with a table (see `skinjax.data.folder`), of which
            the split 'test' is judged, or all where the table has no splits.
        workdir: where report.html, results.json, tables and figures go.
        classes: names in the order of labels, the positive one of two last; those of the table
            where none are given.
        bias: names of the columns of the table that are flags; for records, which of theirs (none
            named: all), or flag -> names of its values, where 'no' and 'yes' or numbers do not say
            it.
        threshold: of two classes, from which on the positive one is called.
        explain: (images, int32 class of each [b]) -> relevance of pixels [b, h, w] for that class;
            without it parts of the images are covered, one by one, which takes long.
        name: of the model.
        batch_size: images that the function gets at once, always as many.
        image_size: pixels a side to which images of a folder are brought.
        csv: name of the table in the folder.
        options: fields of the audit 'report' (skinjax/audits/report.py), such as n_maps=200 or
            counterfactual={'masks': 1}.

    Returns:
        The contents of results.json.

    Raises:
        ValueError: probabilities, features or maps of other shapes or with values that cannot be,
            a model that is not in evaluation mode, labels or options that do not fit, or a
            directory that holds something else.
        FileNotFoundError: no such folder or table.
    """
    from skinjax.auditing import classifiers, functions
    from skinjax.audits import report

    config, workdir = _config(options), Path(workdir)
    report.check(config.audit)
    if isinstance(records, Records):
        if (image_size, csv) != (224, 'records.csv'):
            raise ValueError('image_size and csv are of a folder: records have their images')
        data = functions.data_of(records, classes, bias)
    else:
        data = functions.folder_data(Path(records), image_size, csv, classes, bias)
    judged = classifiers.split_of(data, config.audit.split, 'split')
    one = functions.of_function(predict, data, judged, threshold, batch_size, name, explain)
    report.flag_split(one, config.audit)  # before anything is written
    with rundir.lock(workdir):
        rundir.claim(config, workdir)
        report.clear(workdir)
        results, sections = report.examined(one, config.audit, workdir)
        return _publish(config, workdir, results, sections)


def _config(options: Mapping[str, Any]) -> Any:
    """The config of kind 'audit' for a function, with `options` in place of the defaults."""
    from skinjax.audits import report

    if above := sorted({*kinds.RUN, 'explainer'} & {*options}):
        raise ValueError(f'{above[0]} is of audits of runs: a function has none')
    fields: dict[str, Any] = {}
    for field, value in options.items():
        known = report.DEFAULTS.get(field)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            value = configs.replaced(f'audit.{field}', {**known}, {**value})
        fields[field] = value
    return configs.resolve(kinds.audit('report', **fields))


def _publish(
    config: Any, workdir: Path, results: dict[str, Any], sections: Sequence[Section]
) -> dict[str, Any]:
    """Writes results.json, report.html and DONE; returns the results."""
    results = results | {'versions': rundir.versions()}
    write_json(workdir / 'results.json', results)
    versions = Table('', ['name', 'value'], [[*pair] for pair in results['versions'].items()])
    page = [
        *sections,
        Section('Versions', tables=[versions]),
        Section('Configuration', code=json.dumps(configs.to_json(config), indent=2)),
    ]
    write_report(workdir / 'report.html', f'{workdir.resolve().name} (audit)', page)
    write_atomic(workdir / 'DONE', f'{config.audit.name}\n')
    print(f'report: {workdir}/report.html', flush=True)
    return results
