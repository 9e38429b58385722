"""Kind 'benchmark': steps per second, memory and compile time, beside the PyTorch baselines.

Every contender is a program of its own (`contender.py`, and the module `peer` of the config, run in
`repository`), so that none shares memory, threads or compiler with another, and so that skinjax
imports no PyTorch. All of one case are started and prepared; then, in every round, each does some
steps while the others wait. Medians over rounds are compared, and ratios are taken within rounds:
other work on the machine weighs on all of them alike.

Without ml_collections, grain and the rest of what training needs, on a machine that has jax, flax,
optax and jaxtyping (and torch):

    python -m skinjax.benchmark --cases=resnet50,clgr --batch=256 --size=224 --dtype=bfloat16
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skinjax import timing

ROOT = Path(__file__).parents[1]
SETTINGS = ('XLA_FLAGS', 'GLIBC_TUNABLES', 'OMP_NUM_THREADS', 'NVIDIA_TF32_OVERRIDE')
PEER_MODES = ('infer', 'train')
OWN = 'skinjax'


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured; the fields of a config of kind 'benchmark' of the same names."""

    cases: tuple[str, ...] = ('resnet50', 'resnext101', 'efficientnet_b3', 'mobilenet_v2', 'clgr')
    modes: tuple[str, ...] = ('infer', 'train', 'fed')  # memory: what needs least comes first
    batch: int = 16  # global
    size: int = 128  # pixels
    dtype: str = 'float32'  # of the computation, on both sides
    devices: int = 0  # of skinjax; 0: all
    rounds: int = 7
    steps: int = 3  # of each contender and mode in a round
    peer: str = 'third_party.torch_baselines.steps'  # module; '' for none
    variants: tuple[str, ...] = ('eager', 'compile')  # of the peer
    repository: str = ''  # folder with the peer; '': where skinjax lies


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Measure all cases into results.json and table.md; a case that is done is not repeated.

    Returns:
        The contents of results.json.

    Raises:
        ValueError: the directory holds something else, or there is nothing to measure.
        RuntimeError: skinjax itself cannot run a case.
    """
    from skinjax import rundir
    from skinjax.engine.writer import read_json, write_atomic, write_json

    if rundir.done(config, workdir):
        print(f'{workdir} is done: {workdir}/table.md (delete it to run again)', flush=True)
        return read_json(workdir / 'results.json')
    plan = Plan(**{field.name: config[field.name] for field in dataclasses.fields(Plan)})
    check(plan)
    with rundir.lock(workdir):
        rundir.claim(config, workdir)
        results = read_json(workdir / 'results.json') or {'machine': machine(), 'cases': {}}
        for case in plan.cases:
            if case not in results['cases']:
                results['cases'][case] = measure(plan, case)
                write_json(workdir / 'results.json', results)
        write_atomic(workdir / 'table.md', (text := table(plan, results)) + '\n')
        write_atomic(workdir / 'DONE', f'{len(plan.cases)} cases\n')
    print(text, flush=True)
    return results


def check(plan: Plan) -> None:
    """Raise ValueError for a plan that measures nothing."""
    if not plan.cases or not plan.modes or plan.rounds < 1 or plan.steps < 1:
        raise ValueError(
            'config.cases and modes must name something, rounds and steps be at least 1; found '
            f'{plan.cases}, {plan.modes}, {plan.rounds} and {plan.steps}'
        )


def measure(plan: Plan, case: str) -> dict[str, Any]:
    """All contenders of one case in turn.

    Returns:
        'facts' of each contender; 'prepared', what it said of each mode; 'rounds', for each mode
        and contender the answers of `timing.serve`; 'left_out', why a contender or mode is missing.
    """
    found: dict[str, Any] = {'facts': {}, 'prepared': {}, 'rounds': {}, 'left_out': {}}
    with contextlib.ExitStack() as stack:
        running = _start(plan, case, found, stack)
        for mode in ('matmul', *plan.modes):
            for name, contender in running.items():
                if name == OWN or mode in PEER_MODES:
                    _prepare(name, contender, mode, found)
        for number in range(plan.rounds):
            for mode, rounds in found['rounds'].items():
                # Nobody always runs after the same neighbour.
                names = [*rounds][number % len(rounds) :] + [*rounds][: number % len(rounds)]
                for name in names:
                    rounds[name].append(running[name].ask('run', mode, plan.steps))
    return found


def _start(
    plan: Plan, case: str, found: dict[str, Any], stack: contextlib.ExitStack
) -> dict[str, timing.Contender]:
    """The contenders that can run, by name."""
    shape = [f'--case={case}', f'--batch={plan.batch}', f'--size={plan.size}']
    shape.append(f'--dtype={plan.dtype}')
    programs = {OWN: ['skinjax.contender', *shape, f'--devices={plan.devices}']}
    folder = Path(plan.repository) if plan.repository else ROOT
    for variant in plan.variants if plan.peer else ():
        programs[f'{plan.peer.split(".")[-2]} {variant}'] = [
            plan.peer, *shape, f'--variant={variant}'
        ]  # fmt: skip
    running = {}
    # JAX would else take most of a GPU's memory at its start, and the peers find too little.
    environment = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', 'PYTHONPATH': str(ROOT)}
    for name, arguments in programs.items():
        _say(f'{case}: starting {name}')
        try:
            running[name] = timing.Contender(arguments, folder, environment)
        except RuntimeError as error:
            if name == OWN:
                raise
            found['left_out'][name] = str(error)
            continue
        stack.callback(running[name].close)
        found['facts'][name] = running[name].facts
    return running


def _prepare(name: str, contender: timing.Contender, mode: str, found: dict[str, Any]) -> None:
    """Make a mode of a contender ready, or note why it is left out."""
    try:
        told = contender.ask('prepare', mode)
    except RuntimeError as error:
        if name == OWN and mode != 'fed':
            raise
        found['left_out'][f'{name}, {mode}'] = str(error)
        return
    _say(f'  {name}, {mode}: first step after {told["first"]:.1f} s')
    found['prepared'].setdefault(mode, {})[name] = told
    found['rounds'].setdefault(mode, {})[name] = []
