"""Lesions on skin of another tone, as a data set that training takes beside the real images.

    python -m skinjax.main --config=configs/stylise.py --workdir=styled
    python -m skinjax.main --config=configs/stylise.py:isic2017 --config.data.root=FOLDER \
        --config.style.target=V,VI --workdir=styled
    python -m skinjax.main --config=configs/baseline.py:isic2017 --config.data.root=FOLDER \
        --config.data.add_generated=styled

Variants: SOURCE; a data set, '' or synthetic for the embedded lesions. Every image of the training
split gets one of the tones in style.target (skinjax/editors/style.py has the options), passes a
gate (config.gate) and is written with its mask; rejected.csv says which were refused, and why.
Lesion masks are needed: --config.chain=segment --config.editors.segment.init_from=runs/segment
makes them. --config.classifier=runs/baseline tells what the tone does to predictions, and
--config.n=60 tries it on 60 images. The same command continues after a stop. docs/style.md says
what recolouring cannot do.

Measured: about 25 images/s on one busy core at 256 pixels, from file to file, of which the colours
take little: 580 images/s by gains, 350 with lesion=shift, 330 and 280 with the matches reinhard and
histogram.
"""

from skinjax import kinds


def get_config(source: str = ''):
    """Kind 'generate' with a style, for the data source."""
    return kinds.stylise(source)
