"""How well hair, rulers and ink are found and removed, and what happens to clean pictures.

    python -m skinjax.main --config=configs/audit_artefact_removal.py
    python -m skinjax.main --config=configs/audit_artefact_removal.py:templates \
        --config.root=FOLDER
    python -m skinjax.main --config=configs/audit_artefact_removal.py:isic2017 \
        --config.root=FOLDER

Variants: templates, isic2017; '' draws lesions with and without each artefact, so that masks and
twins are exact; 'templates' takes the photographs of Katsch et al. (2022) with rulers retouched by
hand and with ink laid on; 'isic2017' asks whether more is found where people flagged hair, and how
much is changed where they saw nothing.

Measured: '' at 256 pixels: PSNR to the render without hair 27.8 before removal, 36.7 after.
isic2017: AUC of detected hair for the flag .731; mean SSIM of pictures without hair and rulers
.996. Not timed; docs/purify.md has the rest.
"""

from skinjax import kinds


def get_config(source: str = ''):
    """Kind 'audit' for the source of pictures; '' is 'synthetic'."""
    source = source or 'synthetic'
    n = 0 if source == 'isic2017' else 200
    return kinds.audit('artefact_removal', source=source, n=n)
