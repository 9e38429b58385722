"""Kind 'audit': an audit of data, or of a model with its data, as tables, figures and a report."""

import json
from pathlib import Path
from typing import Any

from skinjax import config as configs
from skinjax import kinds, rundir
from skinjax.document import Section, write_report
from skinjax.engine.writer import read_json, write_atomic, write_json


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
    audit = configs.find('audits', config.audit.name).build(section)
    with rundir.lock(workdir):
        rundir.claim(config, workdir)
        results, sections = audit(workdir)
        results |= {'versions': rundir.versions()}
        write_json(workdir / 'results.json', results)
        page = [
            *sections,
            Section('Configuration', code=json.dumps(configs.to_json(config), indent=2)),
        ]
        write_report(workdir / 'report.html', f'{workdir.resolve().name} (audit)', page)
        write_atomic(workdir / 'DONE', f'{config.audit.name}\n')
    print(f'report: {workdir}/report.html', flush=True)
    return results
