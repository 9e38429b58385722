"""Judge a finished run again: other splits, test-time augmentation, another threshold, other data.

    python -m skinjax.main --config=configs/evaluate.py --config.init_from=runs/clgr
    python -m skinjax.main --config=configs/evaluate.py:isic2017 --config.init_from=runs/clgr \
        --config.data.root=FOLDER

Variants: SOURCE, TASK, TASK_SOURCE; '' takes the run's own data, SOURCE those of another data set,
whose images are brought to the size that the run was trained on. Runs of another task than
classification need its name: `segmentation`, or with a data set `segmentation_ham10000`.
"""

from skinjax import config as configs


def get_config(variant: str = ''):
    """Kind 'evaluate' for the run in `init_from`."""
    return configs.evaluate(variant)
