"""Command line: `python -m skinjax.main --config=configs/NAME.py [--workdir=DIR] [--config.x=y]`.

Reads one config, starts JAX, and hands over to the module of the config's kind.
"""

import importlib
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Experiment file, such as configs/clgr.py or configs/clgr.py:isic2017.'
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Where results go; default runs/<config name>.')
_TRACEBACK = flags.DEFINE_bool('traceback', False, 'Show where an error arose, not only its line.')


def main(argv: list[str]) -> None:
    """Resolve the config and run its kind."""
    del argv
    from skinjax import config as configs
    from skinjax.engine import startup

    given = config_flags.get_override_values(flags.FLAGS['config'])
    config = configs.resolve(_CONFIG.value, given)
    workdir = Path(_WORKDIR.value or startup.default_workdir(_config_argument(sys.argv)))
    startup.start(config)
    with startup.fail_fast():
        importlib.import_module(f'skinjax.{config.kind}').run(config, workdir)


def _config_argument(argv: list[str]) -> str:
    """The text after --config= (or --config)."""
    for here, following in zip(argv, [*argv[1:], ''], strict=True):
        name, _, value = here.lstrip('-').partition('=')
        if name == 'config':
            return value or following
    return 'run'


def _parse(argv: list[str]) -> list[str]:
    """Flags, or one line and exit status 2."""
    try:
        rest = flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        _fail(_reason(error), 2)
    if _CONFIG.value is None:
        _fail('no --config given: try --config=configs/clgr.py', 2)
    if len(rest) > 1:
        _fail(f'unexpected argument {rest[1]!r}: options begin with --', 2)
    return rest


def _reason(error: Exception) -> str:
    """The message, without the traceback that ml_collections puts into that of a config file."""
    flag, _, trace = str(error).partition(': Error whilst parsing config file:')
    last = trace.strip().splitlines()[-1:]
    return f'{flag}: {last[0].partition(": ")[2] or last[0]}' if last else flag


def _fail(message: str, status: int) -> None:
    print('error: ' + ' '.join(str(message).split()), file=sys.stderr)
    sys.exit(status)


def cli() -> None:
    """Run, turning expected errors into one line and a non-zero exit status."""
    logging.set_verbosity(logging.ERROR)
    try:
        app.run(main, flags_parser=_parse)
    except KeyboardInterrupt:
        _fail('interrupted', 130)
    except (ImportError, OSError, RuntimeError, ValueError, FloatingPointError) as error:
        if _TRACEBACK.value:
            raise
        _fail(f'{error} (--traceback shows where)', 1)


if __name__ == '__main__':
    cli()
