"""Command line: `python -m skinjax.main --config=configs/NAME.py [--workdir=DIR] [--config.x=y]`.

Reads one config, starts JAX, and hands over to the module of the config's kind. Without arguments
it says what can be run, on standard error and with exit status 2, since nothing was; --help says
the same and lists the flags, on standard output and with status 0.
"""

import shutil
import sys
import warnings

from absl import app, flags, logging
from ml_collections import config_flags

from skinjax import experiments

_CONFIG = config_flags.DEFINE_config_file(
    'config',
    None,
    'Experiment, by name or file: skinjax:clgr, configs/clgr.py; variant: skinjax:clgr:isic2017.',
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Where results go; default runs/<config name>.')
_TRACEBACK = flags.DEFINE_bool('traceback', False, 'Show where an error arose, not only its line.')
HELP = {'-h', '-help', '--help', '-?'}


def main(argv: list[str]) -> None:
    """Resolve the config and run its kind."""
    del argv
    from skinjax.engine import startup

    given = config_flags.get_override_values(flags.FLAGS['config'])
    workdir = _WORKDIR.value or startup.default_workdir(_config_argument(sys.argv))
    experiments.run(_CONFIG.value, workdir, given)


def _config_argument(argv: list[str]) -> str:
    """The text after --config= (or --config)."""
    for here, following in zip(argv, [*argv[1:], ''], strict=True):
        name, _, value = here.lstrip('-').partition('=')
        if name == 'config':
            return value or following
    return 'run'


def _located(argv: list[str]) -> list[str]:
    """`argv` with the file of the experiment that --config names; ValueError if there is none."""
    found = list(argv)
    for at, word in enumerate(argv):
        if word in ('-config', '--config') and at + 1 < len(argv):
            found[at + 1] = experiments.locate(argv[at + 1])
        elif word.startswith(('-config=', '--config=')):
            found[at] = f'--config={experiments.locate(word.partition("=")[2])}'
    return found


def _parse(argv: list[str]) -> list[str]:
    """Flags; what can be run, where that is asked for; or one line and exit status 2."""
    if HELP & set(argv):
        print(f'{_overview()}\n\nFlags:{flags.FLAGS.main_module_help()}')
        sys.exit(0)
    if len(argv) < 2:
        print(_overview(), file=sys.stderr)
        sys.exit(2)
    try:
        sys.argv[:] = found = _located(argv)
        rest = flags.FLAGS(found)
    except (AttributeError, KeyError, TypeError) as error:
        named = experiments.unknown_field(_config_argument(sys.argv), sys.argv)
        _fail(named or _reason(error), 2)
    except (flags.Error, OSError, ValueError) as error:
        _fail(_reason(error), 2)
    if _CONFIG.value is None:
        _fail('no --config given: try --config=skinjax:clgr (--help lists all)', 2)
    if len(rest) > 1:
        _fail(f'unexpected argument {rest[1]!r}: options begin with --', 2)
    return rest


def _overview() -> str:
    return experiments.overview(min(shutil.get_terminal_size((120, 24)).columns, 140))


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
    if not sys.warnoptions:  # what tells developers of coming changes is of no use to users
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter('ignore', category)
    try:
        app.run(main, flags_parser=_parse)
    except KeyboardInterrupt:
        _fail('interrupted: what is finished stays, and the same command continues', 130)
    except (ImportError, OSError, RuntimeError, ValueError, FloatingPointError) as error:
        if _TRACEBACK.value:
            raise
        _fail(f'{error} (--traceback shows where)', 1)


if __name__ == '__main__':
    cli()
