"""A data set decoded once: small, upright images in ArrayRecord files that train at full speed.

    python -m skinjax.main --config=configs/prepare.py:isic2017 --config.data.root=FOLDER \
        --workdir=prepared/isic2017
    python -m skinjax.main --config=configs/clgr.py:prepared --config.data.root=prepared/isic2017

Variants: SOURCE; a data set, '' or synthetic for the embedded lesions. 256 pixels and JPEG of
quality 95 unless --config.data.image_size or --config.encoding=png say otherwise; sources whose
images are not square take --config.data.geometry=crop, pad or squash.
--config.archives=a.zip,b.tar.gz are unpacked into data.root first. The same command continues after
a stop.

Measured: about 300 photographs of 1024 x 768 a second and core.
"""

from skinjax import kinds


def get_config(source: str = ''):
    """Kind 'prepare' for the data source."""
    return kinds.prepare(source)
