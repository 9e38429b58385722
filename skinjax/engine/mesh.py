"""Everything that knows about devices and processes.

'jit': the step sees the global batch, sharded over the mesh axis `data`; the state is replicated.
'pmap': the step runs per device on its share of the batch, and sums run over the axis `data`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import jax_utils
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from skinjax.engine import compiling

AXIS = 'data'
_FAILED, _ERROR_BYTES = 2, 2000  # of the message that `on_main` sends round


@dataclasses.dataclass(frozen=True)
class Mesh:
    """The devices of a run and how arrays are laid out over them."""

    parallel: str
    devices: tuple[Any, ...]

    @staticmethod
    def create(parallel: str, count: int = 0) -> 'Mesh':
        """The first `count` devices (0: all).

        Raises:
            ValueError: more devices asked for than there are, or fewer than all on several hosts.
        """
        found = jax.devices()
        if count > len(found) or (count and count != len(found) and jax.process_count() > 1):
            raise ValueError(f'config.devices = {count}, but there are {len(found)} devices')
        return Mesh(parallel, tuple(found[: count or len(found)]))

    @property
    def axis(self) -> str | None:
        """The name over which the step must sum, where it runs per device."""
        return AXIS if self.parallel == 'pmap' else None

    def check(self, batch_size: int) -> None:
        """Raise ValueError unless the global batch divides over the devices."""
        if batch_size % len(self.devices):
            raise ValueError(
                f'a global batch of {batch_size} does not divide over {len(self.devices)} devices: '
                'change config.data.batch_size or config.devices'
            )

    def _sharding(self, spec: PartitionSpec) -> NamedSharding:
        mesh = jax.make_mesh(
            (len(self.devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=self.devices
        )
        return NamedSharding(mesh, spec)

    @property
    def replicated(self) -> NamedSharding:
        """Layout of the state: one copy per device."""
        return self._sharding(PartitionSpec())

    @property
    def shared_out(self) -> NamedSharding:
        """Layout of a batch: each device has its share of the rows."""
        return self._sharding(PartitionSpec(AXIS))

    def put_batch(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """This process's share of a batch as (a shard of) the global one."""
        if self.parallel == 'pmap':
            local = len(self._local())
            return {k: v.reshape(local, -1, *v.shape[1:]) for k, v in batch.items()}
        sharding = self.shared_out
        return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}

    def distribute(self, state: Any) -> Any:
        """A state (from any devices) in the layout that the compiled step takes and returns."""
        state = jax.tree.map(np.asarray, state)
        if self.parallel == 'pmap':
            return jax_utils.replicate(state, self._local())
        return jax.device_put(state, self.replicated)

    def collect(self, state: Any) -> Any:
        """The reverse: one logical state, as checkpoints and evaluation take it."""
        if self.parallel == 'pmap':
            # Only the copies of this process can be read.
            local = jax.tree.map(lambda x: np.asarray(x.addressable_data(0))[0], state)
            return jax.device_put(local, self.replicated)
        return state

    def _local(self) -> list[Any]:
        return [d for d in self.devices if d.process_index == jax.process_index()]

    def compile_step(self, step: Callable, key: jax.Array) -> Callable:
        """(state, batch) -> (state, metrics) for states from `distribute`, which are donated."""
        if self.parallel == 'jit':
            options = compiling.options()
            return jax.jit(lambda s, b: step(s, b, key), donate_argnums=0, compiler_options=options)
        devices = self._local() if jax.process_count() == 1 else None
        mapped = jax.pmap(
            lambda s, b: step(s, b, key), axis_name=AXIS, devices=devices, donate_argnums=0
        )

        def run(state, batch):
            state, metrics = mapped(state, batch)
            return state, {name: value[0] for name, value in metrics.items()}

        return run


def on_main(action: Callable[[], Any]) -> bool:
    """Run `action` on the main process while the others wait; whether it returned something true.

    With one process it is simply called. With several, all processes go on together and agree.

    Raises:
        Whatever `action` raises; on the other processes ValueError with the same text.
    """
    if jax.process_count() == 1:
        return bool(action())
    error, answer = None, np.zeros(1 + _ERROR_BYTES, np.uint8)
    if is_main():
        try:
            answer[0] = bool(action())
        except Exception as raised:
            error = raised
            text = str(raised).encode()[:_ERROR_BYTES]
            answer[0], answer[1 : 1 + len(text)] = _FAILED, np.frombuffer(text, np.uint8)
    answer = np.asarray(multihost_utils.broadcast_one_to_all(answer))
    if error is not None:
        raise error
    if answer[0] == _FAILED:
        raise ValueError(answer[1:].tobytes().rstrip(b'\0').decode(errors='ignore'))
    return bool(answer[0])


def all_agree(answer: bool) -> bool:
    """Whether `answer` is true on every process; all must ask."""
    if jax.process_count() == 1:
        return answer
    return bool(np.all(multihost_utils.process_allgather(np.asarray(answer))))


def is_main() -> bool:
    """Whether this process writes files and prints."""
    return jax.process_index() == 0


def say(text: str) -> None:
    """Print from the main process."""
    if is_main():
        print(text, flush=True)
