"""The main head fitted on frozen features, before or instead of fine-tuning.

A head that starts at random sends random gradients into a pretrained encoder and distorts its
features; one that starts at the best linear classifier does not (Kumar et al., "Fine-tuning can
distort pretrained features and underperform out-of-distribution", ICLR 2022, who call it LP-FT).
With features computed once, the fit takes seconds.
"""

import numpy as np
from jaxtyping import Float, Integer, Shaped

PENALTIES = tuple(10.0**k for k in range(-5, 2))  # C of scikit-learn: the inverse of the penalty
FOLDS = 5


def fit(
    features: Float[np.ndarray, 'n d'],
    labels: Integer[np.ndarray, ' n'],
    groups: Shaped[np.ndarray, ' n'],
    classes: int,
) -> dict[str, np.ndarray]:
    """Kernel [d, o] and bias [o] of multinomial logistic regression; o is 1 for two classes.

    The L2 penalty, on standardised features, is the one of lowest log loss in cross-validation
    over the groups.

    Args:
        features: of the frozen encoder.
        labels: 0 ... classes - 1.
        groups: what must not stand on both sides of the cross-validation.
        classes: of the task.

    Raises:
        ValueError: a class has too few groups to cross-validate, or features are not finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    check(labels, groups, classes)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000)),
        {'logisticregression__C': PENALTIES},
        scoring='neg_log_loss',
        cv=StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0),
    )
    with threadpool_limits(1):  # threads that wait for each other take ten times as long here
        search.fit(features.astype(np.float64), labels, groups=groups)
    scaler, model = (step for _, step in search.best_estimator_.steps)
    kernel = (model.coef_ / scaler.scale_).T
    bias = model.intercept_ - scaler.mean_ @ kernel
    return {'kernel': kernel.astype(np.float32), 'bias': bias.astype(np.float32)}


def check(
    labels: Integer[np.ndarray, ' n'], groups: Shaped[np.ndarray, ' n'], classes: int
) -> None:
    """Raise ValueError where `fit` could not cross-validate."""
    counts = [len(np.unique(groups[labels == k])) for k in range(classes)]
    if min(counts) < FOLDS:
        raise ValueError(
            f'train.head_first needs {FOLDS} groups of each class, found {counts}: switch it off'
        )
