"""What an audit has found and what to do about it, in plain words with numbers.

A pure function of the results: nothing is computed anew. A finding has an interval, or says that
something is not known. What its interval leaves open is not called "nothing found".
"""

from collections.abc import Iterator, Mapping
from typing import Any

from skinjax.auditing import advice_artefacts
from skinjax.auditing.finding import (
    ARTEFACTS,
    LISTED,
    MANY,
    SEVERITIES,
    SURE,
    Finding,
    flag_of,
    grave,
    name_of,
    number,
    percent,
    shows,
    small,
    surely,
    switches_of,
)
from skinjax.auditing.performance import difference

FEW, FEW_OF_CLASS = 100, 30  # images below which a finding says that there are few
FEW_OF_CLUSTER = 20
Results = Mapping[str, Any]
_CONSTANT = (
    'The model says the same of all {} images (to a millionth): it has learned nothing, is broken, '
    'or gets its images in a form that it does not know (size, colours, scale). Nothing else in '
    'this report means anything.'
)
_GROUPED = (
    'The {} images are of {} patients or lesions. Intervals know that; but clusters are compared '
    'with flags as if images were independent, so that q is too small there.'
)
_REMEDY = (
    'Train with equal shares of both, or (in skinjax) with group DRO (`configs/group_dro.py`), and '
    'report both figures.'
)


def advise(results: Results) -> list[Finding]:
    """All findings of an audit, the gravest first; see `skinjax.audits.report` for the results."""
    artefacts = (advice_artefacts.leaks, advice_artefacts.insertions, advice_artefacts.removals)
    parts = (_images, _performance, _recognised, _groups, *artefacts, _clusters)
    if results['constant']:
        parts = (_images, _same)
    found = [finding for part in parts for finding in part(results)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _images(results: Results) -> Iterator[Finding]:
    """On how many images the audit rests, and whether these are independent."""
    counts, groups = results['images'], results['groups']
    n = sum(counts.values())
    rare = [f'{of} of {kind}' for kind, of in counts.items() if of < FEW_OF_CLASS]
    if n < FEW or rare:
        listed = f' ({", ".join(rare)})' if rare else ''
        text = (
            f'The audit rests on {n} images of {results["flag_split"]}{listed}: intervals are '
            'wide, and what was not found may still be there. Audit on more images before you rely '
            'on the model.'
        )
        yield Finding('unknown', 'performance', text, {'n': n, 'images': counts})
    if groups == 1 < n:
        text = (
            f'All {n} images are of one patient or lesion: nothing here can be said of other '
            'patients, whatever the intervals are. Audit on images of many.'
        )
        yield Finding('warning', 'performance', text, {'n': n, 'groups': 1})
    elif groups < n:
        text = _GROUPED.format(n, groups)
        yield Finding('note', 'performance', text, {'n': n, 'groups': groups})


def _same(results: Results) -> Iterator[Finding]:
    n = sum(results['images'].values())
    yield Finding('warning', 'performance', _CONSTANT.format(n), {'n': n})


def _performance(results: Results) -> Iterator[Finding]:
    name = results['flag_split']
    block, counts = results['splits'][name], results['images']
    auc = block['auc' if 'auc' in block else 'mean_auc']
    if auc['value'] is None:
        text = (
            f'All images of {name} have one diagnosis: how well the model tells diagnoses apart '
            'cannot be said. Add images of the other classes.'
        )
        yield Finding('unknown', 'performance', text, {'images': counts})
        return
    if results['hard']:
        text = (
            'The model says 0 or 1 and no probabilities in between: the AUC is that of its calls, '
            'and what moves it without turning a call is not seen.'
        )
        yield Finding('note', 'performance', text)
    text = f'On {name} the AUC is {number(auc)}'
    if auc['low'] is None:
        yield Finding('unknown', 'performance', f'{text}; no interval can be given.', auc)
    elif auc['low'] <= 0.5:
        yield Finding('warning', 'performance', f'{text}: not surely better than chance.', auc)
    else:
        some = f'; flags were compared on {results["flagged"]} of them'
        some = some if results['flagged'] < block['n'] else ''
        yield Finding('note', 'performance', f'{text}, over {block["n"]} images{some}.', auc)


def _recognised(results: Results) -> Iterator[Finding]:
    """What is recognised where calls are made, which the AUC does not tell."""
    shares = {name: one for name, one in results['recognised'].items() if one['n']}
    at, remedy = f'At the threshold {results["threshold"]["value"]:.2g} the', 'Choose another one'
    if len(results['recognised']) > 2:  # the most likely class is called
        at, remedy = 'The', 'Give it more weight in training'
    for name, one in shares.items():
        if not one['called']:
            text = (
                f'{at} model never calls an image {name}: it recognises none of {one["n"]}, '
                f'{percent(one)}, whatever its AUC. {remedy}.'
            )
            yield Finding('warning', 'performance', text, one)
        elif one['high'] is not None and one['high'] < 0.5:
            text = (
                f'{at} model recognises less than half of {name}: {percent(one)} of {one["n"]} '
                f'images. {remedy}, unless that is what you want.'
            )
            yield Finding('warning', 'performance', text, one)
    told = ' and '.join(f'{percent(one)} of {one["n"]} {name}' for name, one in shares.items())
    yield Finding('note', 'performance', f'{at} model recognises {told}.', shares)


def _groups(results: Results) -> Iterator[Finding]:
    if not results['flags']:
        text = (
            'Nothing is known of the images but their diagnosis, so no groups were compared. Flags '
            'of artefacts, cameras, skin types or sites in columns of the table would be; so would '
            'those of detectors (`detect`).'
        )
        yield Finding('unknown', 'groups', text)
        return
    # Calls that are all the same differ in no group.
    said = {name for name, one in results['recognised'].items() if one['called']}
    rows = [row for row in results['gaps'] if len(said) > 1 and row['class'] in said]
    if not rows:
        text = 'No flag has two values with enough images of one diagnosis to compare.'
        if results['gaps']:
            text = 'Groups cannot be compared: the calls are the same in all of them.'
        yield Finding('unknown', 'groups', text)
        return
    sure = [row for row in rows if row['q'] <= SURE and surely(row['gap'])]

    def order(row: Mapping[str, Any]) -> tuple[bool, float]:  # what people have flagged first
        return results['flags'][row['flag']]['detected'], -row['gap']['value']

    for row in sorted(sure, key=order)[:LISTED]:
        yield _gap(row, results['flags'][row['flag']]['detected'])
    if not sure:
        row = max(rows, key=lambda row: row['gap']['high'] or row['gap']['value'])
        of = f'{row["class"]} by {name_of(row["flag"])}, a gap of {percent(row["gap"])}'
        text = (
            'No surely different share of the same diagnosis is recognised with one value of a '
            'flag than with another'
        )
        if all(small(row['gap']) for row in rows):
            yield Finding('fine', 'groups', f'{text}: at most that of {of}.', row)
        else:
            text = f'{text}, but there are too few images to rule it out: {of}, is possible.'
            yield Finding('unknown', 'groups', text, row)


def _gap(row: Mapping[str, Any], detected: bool) -> Finding:
    best, worst = row['best'], row['worst']
    if detected:
        remedy = 'A detector has found it, and detectors err: check the flag by eye first.'
    elif flag_of(row['flag']) in ARTEFACTS:
        remedy = _REMEDY
    else:
        remedy = 'Report both figures, and find out why they differ before you change training.'
    text = (
        f'Of {row["class"]} the model recognises {percent(worst["accuracy"])} where '
        f'{name_of(row["flag"])} is “{worst["value"]}” ({worst["n"]} images), but '
        f'{percent(best["accuracy"])} where it is “{best["value"]}” ({best["n"]}): a gap of '
        f'{percent(row["gap"])}. Images with “{worst["value"]}” may also be harder. {remedy}'
    )
    many = row['gap']['value'] >= MANY and not detected
    return Finding('warning' if many else 'note', 'groups', text, row)


def _clusters(results: Results) -> Iterator[Finding]:
    block, flags = results['clusters'], results['flags']
    if block.get('reason'):
        yield Finding('unknown', 'clusters', block['reason'])
        return
    rows = [row for row in block['enrichment'] if row['flag'] in flags]
    sure = [row for row in rows if row['q'] <= SURE and row['more']]
    # What people have flagged first: detectors often say the same again.
    sure.sort(key=lambda row: (flags[row['flag']]['detected'], row['p']))
    for row in sure[:LISTED]:
        few = 'only ' if row['n'] < FEW_OF_CLUSTER else ''
        text = (
            f'Among images called {row["class"]} a cluster of {few}{row["n"]} (cluster '
            f'{row["cluster"]}) goes with {name_of(row["flag"])} “{row["value"]}”: '
            f'{percent(row["inside"])} of its images have it, of the others '
            f'{percent(row["outside"])}. Look at its images and maps below: is it looked at, or '
            'something that goes with it?'
        )
        moved = any(grave(one) and shows(one, row['flag']) for one in switches_of(results))
        act = moved and not flags[row['flag']]['detected']
        yield Finding('warning' if act else 'note', 'clusters', text, row)
    if not rows:
        why = 'none of them varies within clusters' if flags else 'there are none'
        text = f'The clusters were not compared with flags, because {why}.'
        yield Finding('unknown', 'clusters', text)
    elif not sure:
        least = min(rows, key=lambda row: row['p'])
        bounded = all(small(difference(row['inside'], row['outside'])) for row in rows)
        text = (
            'No cluster is surely richer in a flag than the others'
            f'{"" if bounded else ", but some are too small to rule it out"}; nearest is '
            f'{name_of(least["flag"])} “{least["value"]}”, {percent(least["inside"])} of one '
            f'cluster and {percent(least["outside"])} of the others.'
        )
        yield Finding('fine' if bounded else 'unknown', 'clusters', text, least)
