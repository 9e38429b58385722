"""What an audit has found and what to do about it, in plain words with numbers.

A pure function of the results: nothing is computed anew. A finding has an interval, or says that
something was not looked at.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from skinjax.audits import advice_artefacts
from skinjax.audits.finding import LISTED, MANY, SEVERITIES, SURE, Finding
from skinjax.audits.strongest import family, moves, name_of, number, percent, switches_of

FEW, FEW_OF_CLASS = 100, 30  # images below which a finding says that there are few
Results = Mapping[str, Any]


def advise(results: Results) -> list[Finding]:
    """All findings of an audit, the gravest first; see `skinjax.audits.report` for the results."""
    artefacts = (advice_artefacts.leaks, advice_artefacts.insertions, advice_artefacts.removals)
    parts = (_performance, _groups, *artefacts, _clusters)
    found = [finding for part in parts for finding in part(results)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _performance(results: Results) -> Iterator[Finding]:
    name = results['flag_split']
    block, counts = results['splits'][name], results['images']
    small = [f'{of} of {kind}' for kind, of in counts.items() if of < FEW_OF_CLASS]
    if block['n'] < FEW or small:
        listed = f' ({", ".join(small)})' if small else ''
        text = (
            f'The audit rests on {block["n"]} images{listed}: intervals are wide, and what was not '
            'found may still be there. Audit on more images before you rely on the model.'
        )
        yield Finding('unknown', 'performance', text, {'n': block['n'], 'images': counts})
    if results['constant']:
        text = (
            f'The model says the same of all {block["n"]} images: it has learned nothing, is '
            'broken, or gets its images in a form that it does not know (size, colours, scale). '
            'Nothing else in this report means anything.'
        )
        yield Finding('warning', 'performance', text, {'n': block['n']})
        return
    auc = block['auc' if 'auc' in block else 'mean_auc']
    if auc['value'] is None or auc['low'] is None:
        text = (
            f'All images of {name} have one diagnosis: how well the model tells diagnoses apart '
            'cannot be said. Add images of the other classes.'
        )
        yield Finding('unknown', 'performance', text, {'images': counts})
        return
    text = f'On {name} the AUC is {number(auc)}'
    if auc['low'] <= 0.5:
        yield Finding('warning', 'performance', f'{text}: not surely better than chance.', auc)
    else:
        yield Finding('note', 'performance', f'{text}, over {block["n"]} images.', auc)


def _groups(results: Results) -> Iterator[Finding]:
    rows = sorted(results['gaps'], key=lambda row: -row['gap']['value'])
    if not results['flags']:
        text = (
            'Nothing is known of the images but their diagnosis, so no groups were compared. Flags '
            'of artefacts, cameras, skin types or sites in columns of the table would be; so would '
            'those of detectors (`detect`).'
        )
        yield Finding('unknown', 'groups', text)
        return
    if not rows:
        text = 'No flag has two values with enough images of one diagnosis to compare.'
        yield Finding('unknown', 'groups', text)
        return
    sure = [row for row in rows if row['q'] <= SURE and row['gap']['low'] > 0]
    for row in sure[:LISTED]:
        best, worst = row['best'], row['worst']
        text = (
            f'Of {row["class"]} the model recognises {percent(worst["accuracy"])} where '
            f'{name_of(row["flag"])} is “{worst["value"]}” ({worst["n"]} images), but '
            f'{percent(best["accuracy"])} where it is “{best["value"]}” ({best["n"]}): a gap of '
            f'{percent(row["gap"])}. Train with equal shares of both, or with group DRO '
            '(`configs/group_dro.py`), and report both figures.'
        )
        severity = 'warning' if row['gap']['value'] >= MANY else 'note'
        yield Finding(severity, 'groups', text, row)
    if not sure:
        row = rows[0]
        text = (
            'No surely different share of the same diagnosis is recognised with one value of a '
            f'flag than with another; the largest gap is that of {row["class"]} by '
            f'{name_of(row["flag"])}, {percent(row["gap"])}.'
        )
        yield Finding('fine', 'groups', text, row)


def _clusters(results: Results) -> Iterator[Finding]:
    block = results['clusters']
    if block.get('reason'):
        yield Finding('unknown', 'clusters', block['reason'])
        return
    rows = [row for row in block['enrichment'] if row['flag'] in results['flags']]
    sure = [row for row in rows if row['q'] <= SURE and row['more']]
    # What people have flagged first: detectors often say the same again.
    sure.sort(key=lambda row: (results['flags'][row['flag']]['detected'], row['p']))
    for row in sure[:LISTED]:
        text = (
            f'Among images called {row["class"]} the model looks in a way of its own at a cluster '
            f'of {row["n"]} (cluster {row["cluster"]}): {percent(row["inside"])} of them have '
            f'{row["flag"]} “{row["value"]}”, of the others {percent(row["outside"])}. Look at '
            'its images and maps below: is the flag, or what goes with it, what is looked at?'
        )
        yield Finding('warning' if _moves(results, row) else 'note', 'clusters', text, row)
    if not rows:
        text = 'The clusters were not compared with flags, because none of them varies.'
        yield Finding('unknown', 'clusters', text)
    elif not sure:
        least = min(rows, key=lambda row: row['p'])
        text = (
            'No cluster of what the model looks at is surely richer in a flag than the others; '
            f'nearest is {least["flag"]} “{least["value"]}”, {percent(least["inside"])} of one '
            f'cluster and {percent(least["outside"])} of the others.'
        )
        yield Finding('fine', 'clusters', text, least)


def _moves(results: Results, row: Mapping[str, Any]) -> bool:
    """Whether the artefact that a flag names, once inserted, switches predictions."""
    words = {*str(row['flag']).replace('(', ' ').replace('_', ' ').split()}
    return any(family(one) in words and moves(one) for one in switches_of(results))
