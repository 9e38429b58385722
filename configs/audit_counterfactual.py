"""What moves the predictions of a trained classifier: artefacts put in, and artefacts taken out.

    python -m skinjax.main --config=configs/audit_counterfactual.py \
        --config.init_from=runs/baseline --workdir=runs/baseline_counterfactual
    python -m skinjax.main --config=configs/audit_counterfactual.py \
        --config.audit.runs=baseline=runs/baseline,clgr=runs/clgr

Frames, a ruler, a red circle, hair, ink, gel bubbles and patches go into every test image, five
times each and once at each of four strengths; the editor `hair` takes hair, rulers and ink out of
the images that have them, and out of the others as a control. How many predictions switch, by how
many percentage points they move and what that costs in F1, with paired intervals and McNemar's
test (by patient or lesion), and the images that move most. `--config.audit.templates=FOLDER` pastes
cut-outs of photographs instead. docs/bias.md explains the figures.

Measured: 600 images of 64 pixels take two minutes of two busy cores. The network judges the images
90 times, which is nearly all of it; drawing takes one to five milliseconds of each (224 pixels).
"""

from skinjax import kinds


def get_config():
    """Kind 'audit' for the run in `init_from`, or the runs in `audit.runs`."""
    return kinds.audit('counterfactual')
