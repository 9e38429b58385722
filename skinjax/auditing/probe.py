"""How much of a bias variable can still be read from frozen features.

A bias head at chance during training does not prove removal: the encoder may only have learned
to defeat that one head, while a fresh classifier reads the variable with ease (Elazar and
Goldberg 2018). So the leakage is measured after training, by probes that never took part in it,
and never by the training loss of the head.

An AUC of 0.5 is not the level to reach either. Where variable and diagnosis go together, features
that know the diagnosis tell something about the variable: at least what the guess P(variable |
diagnosis) tells (`beside`). Better to compare with is the probe AUC of a model trained in the same
way on data without the skew.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Shaped

from skinjax.auditing import level
from skinjax.bootstrap import bootstrap_auc, bootstrap_mean_auc

UNKNOWN = -1
KINDS = ('linear', 'mlp')
_EPOCHS, _PATIENCE = 200, 20

Features = Float[np.ndarray, 'n d']
Values = Integer[np.ndarray, ' n']
Groups = Shaped[np.ndarray, ' n']


def probe(
    features: Features,
    values: Values,
    groups: Groups,
    kind: str = 'linear',
    folds: int = 5,
    seed: int = 0,
    beside: Values | None = None,
) -> dict[str, Any]:
    """AUC with which a fresh probe reads `values` from `features` that it was not fitted on.

    Each row is scored by a probe fitted on the other folds; rows of one group are always in the
    same fold, and features are standardised by the fitting rows. 'linear' is logistic regression
    with C = 1, 'mlp' one hidden layer of 64 units that stops at the lowest log loss on a held
    part of its fitting rows. With more than two values it is the mean of the one-vs-rest AUCs.

    Args:
        features: of the frozen encoder.
        values: value of the bias variable; rows with -1 are left out.
        groups: what must not stand on both sides, such as the patient or the lesion.
        kind: 'linear' or 'mlp'.
        folds: also the least number of groups in which a value must occur to take part.
        seed: of folds, weights and resamples.
        beside: of each row, such as its diagnosis: what it alone tells of the values.

    Returns:
        auc, low, high: the AUC of all rows together and its interval, bootstrapped over groups
        within each value; n: rows used; counts: rows of each value used; kind; folds; dropped:
        values in too few groups; reason: None, or why auc, low and high are None. On some tens
        of rows expect an AUC below 0.5 for blind features: a row left out tilts its own fit.
        With `beside` also level, more and p, see `level.beyond`; None where auc is.

    Raises:
        ValueError: an unknown kind, lengths that differ, or features that are not finite.
    """
    features, values, groups = np.asarray(features), np.asarray(values), np.asarray(groups)
    _check(features, values, groups, kind)
    support = _support(values, groups)
    kept = [value for value, count in support.items() if count >= folds]
    rows = np.isin(values, kept)
    result = {
        'n': int(rows.sum()),
        'counts': {str(v): int((values == v).sum()) for v in kept},
        'kind': kind,
        'folds': folds,
        'dropped': [value for value in support if value not in kept],
    }
    if len(kept) < 2:
        reason = f'needs two values that occur in at least {folds} groups each, found groups per '
        unknown = dict.fromkeys(('auc', 'low', 'high'))
        more = {} if beside is None else dict.fromkeys(('level', 'more', 'p'))
        return {**unknown, **more, **result, 'reason': f'{reason}value: {support}'}
    target, groups = np.searchsorted(kept, values[rows]), groups[rows]
    scores = _cross_fit(features[rows], target, groups, kind, folds, seed)
    if beside is not None:
        splits = _splits(target, groups, folds, seed)
        guesses = level.guesses(np.asarray(beside)[rows], target, splits)
        result |= level.beyond(target, scores, guesses, groups, seed)
    return {**_auc(target, scores, groups, seed), **result, 'reason': None}


def _support(values: Values, groups: Groups) -> dict[int, int]:
    """Groups in which each known value occurs."""
    known = [int(value) for value in np.unique(values) if value != UNKNOWN]
    return {value: len(np.unique(groups[values == value])) for value in known}


def _auc(
    target: Values, scores: Float[np.ndarray, 'n k'], groups: Groups, seed: int
) -> dict[str, float]:
    if scores.shape[1] == 2:
        found = bootstrap_auc(target, scores[:, 1], seed=seed, groups=groups)
    else:
        found, _ = bootstrap_mean_auc(target, scores, seed=seed, groups=groups)
    return {'auc': found['value'], 'low': found['low'], 'high': found['high']}


def _check(features: np.ndarray, values: np.ndarray, groups: np.ndarray, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f'probe kind {kind!r} is unknown; expected one of {", ".join(KINDS)}')
    if features.ndim != 2 or not len(features) == len(values) == len(groups):
        raise ValueError(
            f'probe expects features [n, d] with n values and groups, found features '
            f'{list(features.shape)}, {len(values)} values and {len(groups)} groups'
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise ValueError(
            f'{bad.size} rows of the features are not finite, the first is row {bad[0]}; '
            'was the checkpoint of a diverged run restored?'
        )


def _splits(
    target: Values, groups: Groups, folds: int, seed: int
) -> Iterator[tuple[Integer[np.ndarray, ' a'], Integer[np.ndarray, ' b']]]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return splitter.split(np.zeros(len(target)), target, groups)


def _cross_fit(
    features: Features, target: Values, groups: Groups, kind: str, folds: int, seed: int
) -> Float[np.ndarray, 'n k']:
    """Probability of each value for each row, by a probe fitted on the other folds."""
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scores = np.zeros((len(target), int(target.max()) + 1))
    for fit, held in _splits(target, groups, folds, seed):
        present = np.unique(target[fit])
        if len(present) < 2 or not held.size:
            # Very unequal groups can leave one value to fit on: such a fold knows nothing.
            scores[held] = 1 / scores.shape[1]
            continue
        scaler = StandardScaler().fit(features[fit].astype(np.float64))
        x = np.asarray(scaler.transform(features.astype(np.float64)))
        # Threads that wait for each other take three to ten times as long as one here.
        with threadpool_limits(1):
            if kind == 'linear':
                model = _linear(x[fit], target[fit])
            else:
                model = _mlp(x[fit], target[fit], groups[fit], seed)
        scores[np.ix_(held, present)] = model.predict_proba(x[held])
    return scores


def _linear(x: Features, target: Values) -> Any:
    from sklearn.linear_model import LogisticRegression

    # Standardised features and C = 1 converge within some hundred steps; the limit is far away.
    return LogisticRegression(C=1.0, max_iter=10_000).fit(x, target)


def _mlp(x: Features, target: Values, groups: Groups, seed: int) -> Any:
    """One hidden layer of 64, with the weights of the epoch of lowest held-out log loss.

    The early stopping of scikit-learn goes by accuracy, which stands still from the first epoch
    on when a value is rare, and it divides groups; both make a probe look blind that is not.
    """
    from sklearn.neural_network import MLPClassifier

    classes = np.unique(target)
    fit = held = np.arange(len(target))
    fewest = min(len(np.unique(groups[target == k])) for k in classes)
    if fewest > 1:
        first = next(iter(_splits(target, groups, min(5, fewest), seed)))
        # A value that would be held out whole could not be learned: then nothing is held out.
        if first[1].size and len(np.unique(target[first[0]])) == len(classes):
            fit, held = first
    model: Any = MLPClassifier(
        (64,),
        alpha=1.0,
        learning_rate_init=0.01,
        batch_size=min(200, len(fit)),  # pyright: ignore[reportArgumentType]
        random_state=seed,
    )
    column = np.searchsorted(classes, target[held])
    best, waited, weights = np.inf, 0, None
    for _ in range(_EPOCHS):
        model.partial_fit(x[fit], target[fit], classes=classes)
        chance = model.predict_proba(x[held])[np.arange(len(held)), column]
        loss = -np.log(np.maximum(chance, 1e-12)).mean()
        if loss < best - 1e-4:
            best, waited = loss, 0
            weights = [w.copy() for w in (*model.coefs_, *model.intercepts_)]
        else:
            waited += 1
        if waited >= _PATIENCE:
            break
    if weights is not None:
        half = len(weights) // 2
        model.coefs_, model.intercepts_ = weights[:half], weights[half:]
    return model
