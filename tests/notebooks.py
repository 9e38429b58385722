"""Notebooks as papermill runs them: parameters put in behind their cell, all cells in order.

The kernel is this interpreter, whatever kernels the user has; it and the test talk through sockets
in a folder of their own, so that several can run at the same time.
"""

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.helpers import ROOT, environment

FOLDER = ROOT / 'launch' / 'colab'
TIMEOUT = 900  # seconds a cell: many times what the longest takes, the installation


def read(name: str) -> Any:
    """The notebook launch/colab/NAME.ipynb."""
    return nbformat.read(FOLDER / f'{name}.ipynb', as_version=nbformat.NO_CONVERT)


def text(notebook: Any) -> str:
    """All that stands in a notebook."""
    return '\n'.join(cell.source for cell in notebook.cells)


def tagged(notebook: Any, tag: str) -> list[int]:
    """Which cells have a tag."""
    cells = enumerate(notebook.cells)
    return [k for k, cell in cells if tag in cell.metadata.get('tags', ())]


def execute(name: str, parameters: dict[str, Any], folder: Path, python: str = '') -> Any:
    """The notebook with its outputs, run in `folder` with other parameters.

    Args:
        name: of the notebook.
        parameters: name -> value, put in behind the cell of the parameters.
        folder: where it runs.
        python: interpreter that its first cell installs skinjax for; this one, which has it, if
            none is given.
    """
    notebook = read(name)
    (at,) = tagged(notebook, 'parameters')
    source = ''.join(f'{key} = {value!r}\n' for key, value in parameters.items())
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(source))
    if not python:
        (first,) = tagged(notebook, 'install')
        notebook.cells[first].source = ''
    # A socket's address must be short.
    with tempfile.TemporaryDirectory(prefix='nb-') as short:
        path = '' if python else str(ROOT)
        home = environment(IPYTHONDIR=short, JUPYTER_RUNTIME_DIR=short, PYTHONPATH=path)
        return asyncio.run(_execute(notebook, folder, Path(short), python or sys.executable, home))


async def _execute(
    notebook: Any, folder: Path, short: Path, python: str, home: dict[str, str]
) -> Any:
    argv = [python, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
    kernel = {'argv': argv, 'display_name': 'tests', 'language': 'python'}
    (short / NATIVE_KERNEL_NAME).mkdir()
    (short / NATIVE_KERNEL_NAME / 'kernel.json').write_text(json.dumps(kernel), encoding='utf-8')
    manager = AsyncKernelManager(
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(short)]),
        transport='ipc',
        connection_file=str(short / 'kernel-0.json'),
    )
    client = NotebookClient(
        notebook, km=manager, timeout=TIMEOUT, resources={'metadata': {'path': str(folder)}}
    )
    await client.async_execute(env=home, cleanup_kc=True)
    return notebook


def outputs(notebook: Any, cell: str) -> dict[str, str]:
    """What a cell shows: MIME type -> text, of several outputs together; also stdout, stderr."""
    (found,) = [one for one in notebook.cells if one.get('id') == cell]
    shown: dict[str, str] = {}
    for output in found.outputs:
        if output.output_type == 'stream':
            shown[output.name] = shown.get(output.name, '') + output.text
        for kind, text in output.get('data', {}).items():
            shown[kind] = shown.get(kind, '') + text
    return shown


def rows(notebook: Any, cell: str) -> list[list[str]]:
    """The cells of the HTML table that a cell shows, without its header."""
    body = outputs(notebook, cell)['text/html'].partition('<tbody>')[2]
    lines = re.findall(r'<tr>(.*?)</tr>', body, re.S)
    return [re.findall(r'<t[hd][^>]*>(.*?)</t[hd]>', line) for line in lines]
