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
PEER_MODES = ('infer', 'train', 'style')
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


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return {
        'processor': [*named, platform.machine()][0],
        'cores': len(os.sched_getaffinity(0)),
        'load': os.getloadavg()[0],  # of other programs, at the start
        'python': platform.python_version(),
        'settings': {name: os.environ[name] for name in SETTINGS if name in os.environ},
    }


def summarize(plan: Plan, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Medians of each mode and contender of one case, and ratios to the peers within rounds.

    A ratio above 1 means that skinjax is faster. The share of the peak is the work of a step, by
    XLA's count, over its time, relative to the matrix products of the same rounds.
    """
    rows = []
    for mode in plan.modes:
        rounds = found['rounds'].get(mode, {})
        ours = [one['seconds'] for one in rounds.get(OWN, ())]
        told = found['prepared'].get(mode, {}).get(OWN, {})
        for name, answers in rounds.items():
            times = [one['seconds'] for one in answers]
            processor = [one['processor'] for one in answers]
            row = {'mode': mode, 'program': name, 'images/s': plan.batch * plan.steps / _mid(times)}
            row['core seconds'] = _mid(processor) / plan.steps
            if name != OWN and ours:
                row['ratio'] = _spread([b / a for a, b in zip(ours, times, strict=True)])
                own = [one['processor'] for one in rounds[OWN]]
                row['core ratio'] = _spread([b / a for a, b in zip(own, processor, strict=True)])
            if flop := told.get('flop'):
                products = found['rounds']['matmul'][OWN]
                peak = found['prepared']['matmul'][OWN]['flop']
                row['flop/s'] = flop * plan.steps / _mid(times)
                row['share of peak'] = _mid(
                    [flop / peak * p['seconds'] / t for p, t in zip(products, times, strict=True)]
                )
            row['memory'] = max(one['memory'] for one in answers)
            row['first'] = found['prepared'][mode][name]['first']
            row['compile'] = found['prepared'][mode][name].get('compile')
            rows.append(row)
    return rows


def table(plan: Plan, results: dict[str, Any]) -> str:
    """All cases in Markdown, with hardware, versions and what is missing."""
    facts = next(iter(results['cases'].values()))['facts']
    versions = {k: v for one in facts.values() for k, v in one['versions'].items()}
    told = results['machine']
    lines = [
        f'{facts[OWN]["devices"]} x {facts[OWN]["device"]}; {told["processor"]}, '
        f'{told["cores"]} cores, Python {told["python"]}, '
        + ', '.join(f'{name} {version}' for name, version in versions.items())
        + f'. Batch {plan.batch}, {plan.size} px, {plan.dtype}; medians of {plan.rounds} rounds of '
        f'{plan.steps} steps; ratio: time of the other over that of skinjax, in the same round '
        f'(lowest, highest). Load at the start {told["load"]:.1f}. Settings: '
        + (', '.join(f'`{k}={v}`' for k, v in told['settings'].items()) or 'none')
        + '.',
        '',
        '| case | mode | program | images/s | ratio | core-s per step | core ratio | GFLOP/s '
        '| of peak | memory, MB | first step, s | compile, s |',
        '|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
    ]
    missing = []
    for case, found in results['cases'].items():
        for row in summarize(plan, found):
            lines.append(f'| {case} | {row["mode"]} | {row["program"]} | ' + _cells(row) + ' |')
        missing += [f'{case}, {name}: {why}' for name, why in found['left_out'].items()]
    return '\n'.join([*lines, *(['', 'Left out:', ''] if missing else ()), *missing])


def _cells(row: dict[str, Any]) -> str:
    def ratio(value):
        return f'{value[0]:.2f} ({value[1]:.2f}, {value[2]:.2f})' if value else ''

    flops, share = row.get('flop/s'), row.get('share of peak')
    cells = [
        f'{row["images/s"]:.1f}',
        ratio(row.get('ratio')),
        f'{row["core seconds"]:.3f}',
        ratio(row.get('core ratio')),
        f'{flops / 1e9:.0f}' if flops else '',
        f'{share:.0%}' if share else '',
        f'{row["memory"] / 1e6:.0f}',
        f'{row["first"]:.1f}',
        f'{row["compile"]:.1f}' if row['compile'] else '',
    ]
    return ' | '.join(cells)


def _mid(values: Sequence[float]) -> float:
    return statistics.median(values)


def _spread(values: Sequence[float]) -> list[float]:
    return [_mid(values), min(values), max(values)]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """The same without a config: prints the table, and writes all figures with --json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in dataclasses.fields(Plan):
        default: Any = field.default
        listed = isinstance(default, tuple)
        parser.add_argument(
            f'--{field.name}',
            type=(lambda text: tuple(filter(None, text.split(',')))) if listed else type(default),
            default=default,
            help=f'default: {",".join(default) if listed else default!r}',
        )
    parser.add_argument('--json', type=Path, help='file for all figures')
    options = vars(parser.parse_args())
    path = options.pop('json')
    plan = Plan(**options)
    check(plan)
    results = {'machine': machine(), 'cases': {case: measure(plan, case) for case in plan.cases}}
    if path:
        path.write_text(json.dumps({'plan': dataclasses.asdict(plan), **results}, indent=1) + '\n')
    print(table(plan, results))


if __name__ == '__main__':
    main()
