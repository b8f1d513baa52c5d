"""The thread that owns the model: takes requests from a queue and decodes them together."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby

import torch

from app.errors import EngineDown, EngineError, EngineRefused, EngineTimeout, SetupError
from app.inference.engine import Generation
from app.inference.local.adapters import Adapters
from app.inference.local.model import CausalModel, Piece
from app.inference.local.prefixes import PrefixStore
from app.inference.local.rows import Row, Ticket
from app.inference.local.sampling import choose

_TORCH_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError, MemoryError)
"""What a pass may raise; torch's own are RuntimeErrors, being out of the GPU's memory too."""


@dataclass(eq=False)
class Job:
    """Something to do with the model between two passes."""

    action: Callable[[], None]
    done: Future[None] = field(default_factory=Future)


class Worker:
    """Decodes up to `max_batch` requests at a time, by continuous batching: each pass reads, for every one of them,
    what it has pending (the token chosen last and those the grammar forced after it, or the next part of its prompt);
    new requests join and finished ones leave between passes. A pass is of one adapter, adapters take turns.

    `step_tokens` is what a pass reads at most of prompts: it bounds how long the others' next token takes, and how
    late a deadline or cancellation is seen.
    """

    def __init__(
        self,
        model: CausalModel,
        adapters: Adapters,
        prefixes: PrefixStore,
        *,
        threads: int | None,
        max_batch: int,
        step_tokens: int,
        generator: torch.Generator,
    ) -> None:
        self._model = model
        self._adapters = adapters
        self._prefixes = prefixes
        self._threads = threads
        self._max_batch = max_batch
        self._step_tokens = step_tokens
        self._generator = generator
        self._changed = threading.Condition()
        self._queue: deque[Ticket] = deque()
        self._jobs: deque[Job] = deque()
        self._rows: list[Row] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="local-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._closing

    @property
    def running(self) -> int:
        return len(self._rows)

    def submit(self, ticket: Ticket) -> None:
        """Raises EngineDown after the worker has ended."""
        with self._changed:
            if not self.alive:
                raise EngineDown("The local engine is closed")
            self._queue.append(ticket)
            self._changed.notify()

    def do(self, job: Job) -> None:
        """Raises EngineDown after the worker has ended."""
        with self._changed:
            if not self.alive:
                raise EngineDown("The local engine is closed")
            self._jobs.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Fails what waits and runs with EngineDown; returns when the thread has ended."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            if self._threads is not None:
                torch.set_num_threads(self._threads)  # counts for the calling thread
            while self._wait():
                self._do_jobs()
                self._admit()
                for _, rows in groupby(sorted(self._rows, key=lambda row: row.weights), lambda row: row.weights):
                    self._step(list(rows))
        finally:
            # Also after an error nobody thought of, which the interpreter reports: nobody may wait for ever.
            with self._changed:
                self._closing = True
                tickets = [row.ticket for row in self._rows] + list(self._queue)
                jobs, self._jobs, self._rows = self._jobs, deque(), []
                self._queue.clear()
            for ticket in tickets:
                ticket.fail(EngineDown("The local engine was closed"))
            for job in jobs:
                job.done.set_exception(EngineDown("The local engine was closed"))

    def _wait(self) -> bool:
        """Until there is something to do; False to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._rows or self._queue or self._jobs)
            return not self._closing

    def _do_jobs(self) -> None:
        while self._jobs:
            job = self._jobs[0]
            try:
                job.action()
            except SetupError as error:
                job.done.set_exception(error)
            except _TORCH_ERRORS as error:
                job.done.set_exception(EngineDown(f"The local engine failed: {_named(error)}"))
            else:
                job.done.set_result(None)
            self._jobs.popleft()

    def _admit(self) -> None:
        """Drops who is late or has given up, and takes in from the queue's front as many as there is room for."""
        self._rows = [row for row in self._rows if not _dropped(row.ticket)]
        with self._changed:
            waiting = [ticket for ticket in self._queue if not _dropped(ticket)]
            room = self._max_batch - len(self._rows)
            self._queue = deque(waiting[room:])
        for ticket in waiting[:room]:
            try:
                row = Row(ticket, self._adapters.weights(ticket.request.adapter), self._model.eos)
            except KeyError:
                ticket.fail(EngineRefused(f"No adapter {ticket.request.adapter!r} is loaded"))
            except EngineError as error:
                ticket.fail(error)
            else:
                self._rows.append(row)
                self._settle(row)

    def _step(self, rows: list[Row]) -> None:
        """One pass of rows with the same adapter."""
        try:
            self._adapters.activate(rows[0].request.adapter)
            pieces = self._pieces(rows)
            chosen = self._pass(pieces)
            tokens = choose([row for row, _ in chosen], [logits for _, logits in chosen], self._generator)
        except _TORCH_ERRORS as error:
            self._fail(rows, error)
            return
        for (row, logits), token in zip(chosen, tokens, strict=True):
            try:
                row.accept(token, logits)
            except EngineError as error:
                self._end(row)
                row.ticket.fail(error)
            else:
                self._settle(row)

    def _pieces(self, rows: Sequence[Row]) -> list[tuple[Row, Piece]]:
        """Who decodes reads all it has pending; prompts share what `step_tokens` leave, the first come first."""
        pieces = [(row, row.piece(len(row.pending))) for row in rows if not row.reading]
        left = self._step_tokens - sum(len(piece.tokens) for _, piece in pieces)
        for row in rows:
            if row.reading and (left > 0 or not pieces):
                if row.cache is None:
                    row.cache = self._model.new_cache(row.capacity)
                    # The last token is always read: its logits are the first answer's.
                    row.restored(self._prefixes.restore(row.weights, row.request.prompt[:-1], row.cache))
                piece = row.piece(max(left, 1))
                pieces.append((row, piece))
                left -= len(piece.tokens)
        return pieces

    def _pass(self, pieces: Sequence[tuple[Row, Piece]]) -> list[tuple[Row, torch.Tensor]]:
        """The rows that have nothing pending now, and the logits (vocabulary,) of their next token."""
        logits = self._model.forward([piece for _, piece in pieces])
        chosen, at = [], 0
        for row, piece in pieces:
            own = logits[at : at + len(piece.wanted)]
            at += len(piece.wanted)
            reading = row.reading
            following = row.advance(piece, own)
            if reading and row.cache is not None:
                self._prefixes.store(row.weights, row.request.prompt[: row.computed], row.cache)
            if following is not None:
                chosen.append((row, following))
        return chosen

    def _settle(self, row: Row) -> None:
        """Answers for a row that is finished."""
        if row.finished is None:
            return
        self._end(row)
        row.ticket.succeed(
            Generation(
                text=self._model.text(row.text_tokens()),
                prompt_tokens=len(row.request.prompt),
                completion_tokens=len(row.generated),
                model=row.request.adapter or self._model.name,
                finished=row.finished,
                cached_tokens=row.cached,
                label_logprobs=row.label_logprobs,
            )
        )

    def _end(self, row: Row) -> None:
        self._rows.remove(row)
        row.cache = None

    def _fail(self, rows: Iterable[Row], error: BaseException) -> None:
        """Nothing that the failed pass touched is used again; what memory can be freed is."""
        for row in rows:
            self._end(row)
            row.ticket.fail(EngineDown(f"The local engine failed: {_named(error)}"))
        self._prefixes.clear()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()


def _dropped(ticket: Ticket) -> bool:
    if ticket.late:
        ticket.fail(EngineTimeout("The answer was not ready in time"))
    return ticket.given_up or ticket.answer.done()


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
