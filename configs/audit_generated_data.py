"""Do generated images carry artefacts, and do classifiers that learn from them heed artefacts more?

    python -m skinjax.main --config=configs/audit_generated_data.py:isic2017 \
        --config.audit.data.root=FOLDER --config.audit.data.task=three \
        --config.audit.generated=dcgan=generated/dcgan,coupled=generated/coupled \
        --config.audit.runs=real=runs/real,mixed=runs/mixed,generated=runs/generated

Variants: SOURCE; of the real data, '' or synthetic for the embedded lesions. `generated` are
folders of kind 'generate' made by a run (configs/generate.py:gan), `runs` directories of
classifiers; either may be left out. The detectors of skinjax/data/detectors.py look for artefacts
in real and generated images of each class; the editor `insert` puts frames, a ruler, a red circle
and hair into every test image, and what each classifier says is compared with what it said before.
"""

from skinjax import kinds
from skinjax.audits import generated_data


def get_config(source: str = ''):
    """Kind 'audit' for the source of the real data."""
    return kinds.audit('generated_data', data=generated_data.real_data(source))
