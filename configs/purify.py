"""Hair, rulers and ink removed from a data set: a folder that kind 'train' reads.

    python -m skinjax.main --config=configs/purify.py:isic2017 --config.data.root=FOLDER \
        --workdir=purified/isic2017
    python -m skinjax.main --config=configs/baseline.py:folder --config.data.root=purified/isic2017

Variants: SOURCE; a data set, '' or synthetic for the embedded lesions.
--config.chain=segment,hair,inpaint chains editors (skinjax/editors); those with networks need the
directory of a run: --config.editors.segment.init_from=runs/segment. The same command continues
after a stop.

Measured: the editor `hair` does 54 to 67 images a second of one core's time.
"""

from skinjax import kinds


def get_config(source: str = ''):
    """Kind 'purify' for the data source."""
    return kinds.purify(source)
