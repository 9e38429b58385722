"""A data set written to disk: pictures, masks, records.csv, and a contact sheet of them.

    python -m skinjax.main --config=configs/generate.py --workdir=lesions
    python -m skinjax.main --config=configs/generate.py:isic2017 --config.data.root=FOLDER
    python -m skinjax.main --config=configs/clgr.py:folder --config.data.root=lesions

The variant is the name of a data source, '' or synthetic for the embedded lesions: 13,500 pictures
of 64 pixels, about a minute on one core. `--config.beside=FOLDER` puts real images below the others
on figures/contact_sheet.png. Any config of kind 'train' reads the result as source `folder`.
"""

from skinjax import kinds


def get_config(source: str = ''):
    """Kind 'generate' for the data source."""
    return kinds.generate(source)
