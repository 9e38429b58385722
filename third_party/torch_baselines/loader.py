"""Images per second of skinjax's train pipeline and of torch DataLoader with torchvision.

    python -m third_party.torch_baselines.loader --root FOLDER --size 224 --threads 2

FOLDER has image files, or was written by `configs/prepare.py`; then its training split is read.
Both sides read the same bytes on the same cores, and end with a batch of uint8 pixels of the same
size after the same kinds of change: flips, affine, colour. skinjax: `pipeline.train_batches`
without a cache. PyTorch: a shuffled DataLoader with default collation, in the main process and with
as many (persistent) workers as there are threads, over torchvision transforms

    pil     Pillow decodes, transforms.v2 on Pillow images
    draft   the same, decoding JPEG at reduced size where that suffices, which torchvision does not
    tensor  Pillow decodes, transforms.v2 on uint8 tensors
    jpeg    torchvision.io decodes, transforms.v2 on uint8 tensors (where that operation loads)

Every contender is a program of its own. In each round they run one after the other, each for a few
seconds from a running start; medians over rounds are compared, so that other work on the machine
weighs on all of them alike. For Linux.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from third_party.torch_baselines.pictures import Job, skinjax_batches, torch_batches

TORCH = ('pil', 'draft', 'tensor', 'jpeg')


def work(job: Job) -> None:
    """One contender: for every line on standard input, its images per second, as JSON."""
    name, _, workers = job.contender.partition('-')
    began = time.perf_counter()
    try:
        batches = torch_batches(job, name, int(workers)) if workers else skinjax_batches(job)
        next(batches)
    except Exception as error:
        print(json.dumps({'error': f'{type(error).__name__}: {error}'}), flush=True)
        return
    print(json.dumps({'first': time.perf_counter() - began}), flush=True)
    for _ in sys.stdin:
        # What was read ahead while the others ran must not count.
        for _ in range(1 if workers == '0' else 2 * job.threads + 2):
            next(batches)
        began, before, images, elapsed = time.perf_counter(), cpu_seconds(), 0, 0.0
        while elapsed < job.seconds:
            images += len(next(batches))
            elapsed = time.perf_counter() - began
        answer = {'rate': images / elapsed, 'core': images / (cpu_seconds() - before)}
        print(json.dumps(answer), flush=True)


def cpu_seconds() -> float:
    """Processor time of this program, all threads and workers together."""
    workers = multiprocessing.active_children()
    fields = [Path(f'/proc/{worker.pid}/stat').read_text().rpartition(')')[2] for worker in workers]
    ticks = sum(int(time) for text in fields for time in text.split()[11:13])
    return time.process_time() + ticks / os.sysconf('SC_CLK_TCK')


def start(job: Job, contender: str) -> subprocess.Popen[str]:
    """The program of one contender, once its first batch is there."""
    flags = [f'--{name}={value}' for name, value in dataclasses.asdict(job).items() if value]
    return subprocess.Popen(
        [sys.executable, '-m', __spec__.name, *flags, f'--contender={contender}'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(program: subprocess.Popen[str], question: str = '') -> dict[str, Any]:
    """One line of answer from a contender."""
    assert program.stdin and program.stdout
    if question:
        program.stdin.write(question + '\n')
        program.stdin.flush()
    if not (line := program.stdout.readline()):
        raise RuntimeError(f'{program.args}: ended with {program.wait()}')
    return json.loads(line)


def compare(job: Job) -> dict[str, Any]:
    """Rounds of every contender in turn.

    Returns:
        'rate' (images per second) and 'core' (images per second of processor time) of each
        contender and round; 'first', seconds from the start of each to its first batch; 'failed',
        what those said that could not start; and for both measures the 'best' peer by median and
        the 'ratio' of skinjax to it: the median of the ratios within each round, the smallest and
        the largest.
    """
    names = ['skinjax', *(f'{name}-{k}' for name in TORCH for k in sorted({0, job.threads}))]
    programs, first, failed = {}, {}, {}
    try:
        for name in names:
            if f'{name.partition("-")[0]}-0' in failed:
                continue
            programs[name] = start(job, name)
            answer = ask(programs[name])
            if 'error' in answer:
                failed[name] = answer['error'].partition('\n')[0]
            else:
                first[name] = answer['first']
            print(f'{name}: {failed.get(name, "runs")}', file=sys.stderr)
        if 'skinjax' in failed or len(first) < 2:
            raise RuntimeError(f'there is nothing to compare: {failed}')
        rounds = []
        for _ in range(job.rounds):
            rounds.append({name: ask(programs[name], 'go') for name in first})
            rates = (f'{name} {answer["rate"]:.0f}' for name, answer in rounds[-1].items())
            print(*rates, sep=', ', file=sys.stderr)
    finally:
        for program in programs.values():
            program.communicate(timeout=60)  # the end of their input ends them
    result = {'first': first, 'failed': failed, 'best': {}, 'ratio': {}}
    for measure in ('rate', 'core'):
        found = {name: [one[name][measure] for one in rounds] for name in first}
        best = max(first.keys() - {'skinjax'}, key=lambda name: statistics.median(found[name]))
        ratios = [a / b for a, b in zip(found['skinjax'], found[best], strict=True)]
        result[measure], result['best'][measure] = found, best
        result['ratio'][measure] = [statistics.median(ratios), min(ratios), max(ratios)]
    return result


def table(job: Job, result: dict[str, Any]) -> str:
    """The result in Markdown, with hardware and versions."""
    names = ('jax', 'grain', 'opencv-python-headless', 'torch', 'torchvision', 'pillow')
    versions = ', '.join(f'{name} {importlib.metadata.version(name)}' for name in names)
    lines = [
        f'{len(job.encoded())} images, {job.size} px, batch {job.batch}, {job.threads} threads, '
        f'{job.rounds} rounds; {processor()}, Python {platform.python_version()}, {versions}.',
        '',
        '| loader | images/s (median) | lowest | highest | per core-second | first batch, s |',
        '|---|---:|---:|---:|---:|---:|',
    ]
    for name, rates in result['rate'].items():
        core = statistics.median(result['core'][name])
        figures = statistics.median(rates), min(rates), max(rates), core
        cells = ' | '.join(f'{figure:.0f}' for figure in figures)
        lines.append(f'| {name} | {cells} | {result["first"][name]:.1f} |')
    lines.append('')
    for measure, unit in (('rate', 'images/s'), ('core', 'images per core-second')):
        median, low, high = result['ratio'][measure]
        best = result['best'][measure]
        lines.append(f'{unit}, skinjax / {best}: {median:.2f} (rounds: {low:.2f} ... {high:.2f}).')
    lines += [f'{name} could not run: {problem}' for name, problem in result['failed'].items()]
    return '\n'.join(lines)


def processor() -> str:
    """Name of the processor and the number of cores that this program may use."""
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    named = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'{[*named, platform.machine()][0]}, {len(os.sched_getaffinity(0))} cores'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--root', type=Path, required=True, help='folder of image files')
    parser.add_argument('--size', type=int, default=224, help='pixels of the square images')
    parser.add_argument('--threads', type=int, default=2, help='and workers, and cores')
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=3.0, help='of each contender in a round')
    parser.add_argument('--json', type=Path, help='also write all figures to this file')
    parser.add_argument('--contender', default='', help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    path = options.pop('json')
    job = Job(**options)
    if job.contender:
        work(job)
        return
    job.encoded()  # says so if there are none
    cores = sorted(os.sched_getaffinity(0))[: max(1, job.threads)]
    os.sched_setaffinity(0, cores)  # inherited by the contenders
    result = compare(job)
    print(table(job, result))
    if path:
        path.write_text(json.dumps({**result, 'table': table(job, result)}, indent=1))


if __name__ == '__main__':
    main()
