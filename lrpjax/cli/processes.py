"""Several processes that explain one set of photographs, each its own share."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax

from lrpjax.cli.messages import UsageError, one_line, say

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """What of the photographs this process explains.

    Attributes:
        process: Its number, from 0.
        processes: How many there are.
    """

    process: int = 0
    processes: int = 1

    @property
    def leads(self) -> bool:
        """Whether it speaks for all of them."""
        return self.process == 0

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Its items among those that all processes list in the same order.

        Example:
            >>> [Share(process, 2).of("abcde") for process in range(2)]
            ['ace', 'bd']
        """
        return items[self.process :: self.processes]

    def __str__(self) -> str:
        return f"process {self.process} of {self.processes}"


ALONE = Share()


def meet(options: argparse.Namespace) -> Share:
    """Joins the processes that explain together, before JAX has made its first array.

    They meet once and then depend on each other no more: JAX would end all that are connected
    when one of them dies. Process 0, where they meet, stays there until it ends, so that one
    that was killed can be started again.

    Args:
        options: With ``coordinator_address``, ``num_processes`` and ``process_id``; what is None
            JAX takes from the cluster it runs on. If all are None, this process is alone.

    Returns:
        The share of this process.

    Raises:
        UsageError: The numbers don't fit together, or JAX can't tell them.
    """
    number, count = options.process_id, options.num_processes
    given = {"coordinator_address": options.coordinator_address}
    given |= {"num_processes": count, "process_id": number}
    if all(value is None for value in given.values()):
        return ALONE
    if number is not None and count is not None and number >= count:
        raise UsageError(f"--process-id {number}: {count} processes are numbered 0 to {count - 1}")
    if number == 0 and options.coordinator_address is not None:
        _check_port(options.coordinator_address)
    where = options.coordinator_address or "the place that the cluster says"
    say(f"meeting the other processes at {where}; all of them must come within five minutes")
    # Else the others could not come back: a cluster that has lost a member would be closed.
    jax.config.update("jax_enable_recoverability", True)
    try:
        jax.distributed.initialize(**given)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"the processes cannot meet: {one_line(error)}") from error
    share = Share(jax.process_index(), jax.process_count())
    if not share.leads:
        jax.distributed.shutdown()
    return share


def _check_port(address: str) -> None:
    """Whether process 0 may listen there: JAX itself would crash."""
    try:
        socket.create_server(("", int(address.rpartition(":")[2]))).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--coordinator-address {address}: {one_line(reason)}") from error
