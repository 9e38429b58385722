"""The model card of an exported run (Mitchell et al. 2019), out of its results.json."""

from collections.abc import Iterator, Mapping
from typing import Any

from skinjax.tables import format_value, markdown_table

_COLUMNS = {
    'n': 'images',
    'auc': 'AUC',
    'mean_auc': 'mean AUC',
    'accuracy': 'accuracy',
    'balanced_accuracy': 'balanced accuracy',
    'sensitivity': 'sensitivity',
    'specificity': 'specificity',
    'ece': 'ECE',
}


def model_card(facts: Mapping[str, Any], results: Mapping[str, Any], trained: Any) -> str:
    """Markdown: use, training data, figures by split and group, what bias is left.

    Args:
        facts: contents of model.json.
        results: results.json of the run.
        trained: config of the run.
    """
    sections = (_about, _use, _training, _figures, _groups, _leakage, _files)
    parts = [part for section in sections for part in section(facts, results, trained)]
    return '\n\n'.join(part.strip() for part in parts) + '\n'


def _about(facts, results, trained) -> Iterator[str]:
    yield f'# Model card: {facts["run"]}'
    yield (
        f'A classifier of skin-lesion images into {", ".join(facts["labels"])}: '
        f'{trained.model.name} ({trained.model.get("variant", "one variant")}) trained with '
        f'objective `{trained.objective.name}`, seed {facts["seed"]}, {facts["step"]} steps, by '
        'skinjax.'
    )


def _use(facts, results, trained) -> Iterator[str]:
    yield '## Intended use'
    yield (
        'Research on bias in image classifiers. **This is not a medical device.** It has not been '
        'validated for diagnosis, triage or any decision about a patient, and must not be used for '
        'them. Other populations, skin tones, cameras and artefacts than those listed below are '
        'untested.'
    )
    inputs = facts['input']
    yield (
        f'Input: {inputs["colours"]} images of {inputs["size"]} x {inputs["size"]} pixels, '
        f'{inputs["dtype"]}, brought to size by "{inputs["geometry"]}"; normalisation is inside '
        f'the model. Test-time augmentation inside the model: {_yes(facts["tta"])}.'
    )
    threshold = facts['threshold']
    if threshold:
        yield (
            f'Operating threshold: "{facts["labels"][1]}" from a probability of '
            f'{threshold["value"]:.4f} on (rule {threshold["rule"]}, chosen on the split '
            f'{threshold["split"]}, test-time augmentation: {_yes(threshold["tta"])}).'
        )
        if threshold['tta'] != facts['tta']:
            yield (
                'Threshold and figures below were found with the other setting of test-time '
                'augmentation than the exported model has. Evaluate it anew before relying on them.'
            )


def _yes(value: bool) -> str:
    return 'yes' if value else 'no'


def _training(facts, results, trained) -> Iterator[str]:
    block = results.get('data', {})
    yield '## Training data'
    rows = ', '.join(f'{name} {count}' for name, count in block.get('rows', {}).items())
    yield f'Data set `{facts["data"]["name"]}`; images by split: {rows}.'
    if block.get('description'):
        yield f'{block["description"]}.'
    if facts['model'].get('pretrained'):
        yield f'The encoder started from the weights `{facts["model"]["pretrained"]}`.'
    used = ', '.join(f'`{name}`' for name in trained.data.bias)
    yield (
        f'Bias variables used in training or probed: {used or "none"}. Association with the class '
        "in the training rows (Cramér's V, 0 to 1), of all variables known:"
    )
    known = block.get('association', {})
    values = facts['data']['bias']
    yield markdown_table(
        ['variable', "Cramér's V", 'values'],
        [[name, known.get(name), ', '.join(values[name])] for name in values],
    )


def _figures(facts, results, trained) -> Iterator[str]:
    splits = results['splits']
    yield '## Figures'
    text = 'Intervals in brackets are 95 %: Wilson for proportions, bootstrap over rows otherwise.'
    labels = facts['labels']
    yield f'{text} Positive is "{labels[1]}".' if len(labels) == 2 else text
    names = [name for name in _COLUMNS if any(name in block for block in splits.values())]
    rows = [[split, *(block.get(name) for name in names)] for split, block in splits.items()]
    yield markdown_table(['split', *(_COLUMNS[name] for name in names)], rows)


def _groups(facts, results, trained) -> Iterator[str]:
    found = [
        (split, variable, groups)
        for split, block in results['splits'].items()
        for variable, groups in block.get('groups', {}).items()
    ]
    if not found:
        return
    yield '## Figures by group'
    yield 'Worst cell of class and value among those that are large enough to judge:'
    yield markdown_table(
        ['split', 'variable', 'worst cell', 'images', 'accuracy', 'equalised-odds gap'],
        [[split, variable, *_worst(groups)] for split, variable, groups in found],
    )
    names = ('accuracy', 'auc', 'mean_auc', 'sensitivity', 'specificity')
    blocks = [b for _, _, groups in found for b in groups.get('values', {}).values()]
    names = [name for name in names if any(name in block for block in blocks)]
    yield 'By value of each variable:'
    yield markdown_table(
        ['split', 'variable', 'value', 'images', *(_COLUMNS[name] for name in names)],
        [
            [split, variable, value, block.get('count'), *(block.get(name) for name in names)]
            for split, variable, groups in found
            for value, block in groups.get('values', {}).items()
        ],
    )


def _worst(groups: Mapping[str, Any]) -> list[Any]:
    worst = groups.get('worst') or {}
    name = f'{worst["class"]}, {worst["value"]}' if worst else 'none large enough'
    return [name, worst.get('count'), worst.get('accuracy'), groups.get('equalised_odds_gap')]


def _leakage(facts, results, trained) -> Iterator[str]:
    probes = [
        [variable, block.get('split'), kind, {**probe, 'value': probe.get('auc')}, probe.get('n')]
        for variable, block in results.get('probes', {}).items()
        for kind, probe in block.items()
        if isinstance(probe, Mapping)
    ]
    if probes:
        yield '## Bias left in the model'
        yield 'AUC of a fresh probe that reads the variable from the frozen features:'
        yield markdown_table(['variable', 'split', 'probe', 'AUC', 'images'], probes)
    for artefact, block in results.get('insertion', {}).items():
        yield (
            f'Inserting "{artefact}" into the same images moves a prediction by '
            f'{format_value(block["mean_abs"])} percentage points on average; '
            f'{block["switched"]} of {block["n"]} calls switch.'
        )


def _files(facts, results, trained) -> Iterator[str]:
    largest = facts['proof']['largest_difference']
    yield '## Files and licence'
    yield (
        '`python predict.py PICTURE` needs jax, numpy, safetensors, flatbuffers, OpenCV and Pillow,'
        f' and no skinjax. Exported with jax {facts["jax"]["version"]} for '
        f'{", ".join(facts["jax"]["platforms"])}. Loaded in a fresh process on a CPU it gave the '
        f'predictions of the trained model on {facts["proof"]["rows"]} validation images: largest '
        f'difference {largest["probabilities"]:.1e} in a probability, {largest["features"]:.1e} in '
        'a feature (relative to the largest).'
    )
    yield (
        'The code is under the Apache License 2.0. The weights were learned from the images named '
        'above: the terms of those images apply to them too.'
    )
