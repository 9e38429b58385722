"""A data set written to disk: pictures, masks, records.csv, and a contact sheet of them.

    python -m skinjax.main --config=configs/generate.py --workdir=lesions
    python -m skinjax.main --config=configs/generate.py:isic2017 --config.data.root=FOLDER
    python -m skinjax.main --config=configs/clgr.py:folder --config.data.root=lesions
    python -m skinjax.main --config=configs/dcgan.py --config.data.only=melanoma \
        --workdir=runs/melanoma
    python -m skinjax.main --config=configs/generate.py:gan --config.init_from=runs/melanoma \
        --config.count=350 --workdir=generated

Variants: gan, SOURCE; a data set, '' or synthetic for the embedded lesions: 13,500 pictures of 64
pixels. `--config.beside=FOLDER` puts real images below the others on figures/contact_sheet.png. Any
config of kind 'train' reads the result as source `folder`.

Variant gan: images that the generative model of a run makes (configs/dcgan.py of one class,
coupled_dcgan.py of any), --config.count=350 of each class or --config.count=melanoma=350,nevus=20.
Those that are closer to a
training image than 1 % of the held-out ones are refused (--config.least_mse). Training takes the
result with --config.data.add_generated=generated; see docs/data.md. The same command continues
after a stop.

Measured: the embedded lesions take about a minute on one core.
"""

from skinjax import kinds


def get_config(source: str = ''):
    """Kind 'generate' for the data source, or for a run."""
    return kinds.generate(source)
