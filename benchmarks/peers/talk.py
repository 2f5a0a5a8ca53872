"""How the comparison and its workers talk: a line of JSON each way, over the worker's pipes.

A worker is a process of its own that holds one library. It does one thing at a time, when told,
so that of several workers never two compute at once.
"""

import json
import os
import subprocess
import sys
import time
import traceback

_TAIL = 2000  # characters of a traceback that are passed on


class WorkerError(RuntimeError):
    """What a worker could not do, in its own words."""


class Worker:
    """A worker's other end.

    Args:
        command: The program and its arguments.
        environment: What its environment has besides this one's.
    """

    def __init__(self, command, environment=None):
        self.started = time.perf_counter()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        env = os.environ | (environment or {})
        self._process = subprocess.Popen(command, text=True, env=env, **pipes)

    def ask(self, order, **details):
        """What the worker answers to an order; raises WorkerError where it could not follow it."""
        try:
            self._process.stdin.write(json.dumps({"order": order, **details}) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError) as error:
            raise WorkerError(f"the worker died of {order}") from error
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def age(self):
        """Seconds since the process was started."""
        return time.perf_counter() - self.started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def serve(orders):
    """Follows orders until there are no more: `orders` are functions by name.

    What a library prints goes to stderr, so that it cannot be taken for an answer.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        details = json.loads(line)
        try:
            answer = {"answer": orders[details.pop("order")](**details)}
        except Exception as error:
            words = f"{type(error).__name__}: {error}".strip()
            traceback.print_exc(limit=-3)
            answer = {"error": words[-_TAIL:]}
        print(json.dumps(answer), file=answers, flush=True)
