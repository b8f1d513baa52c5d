import time


class Stopwatch:
    """Milliseconds between one `lap` and the next."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """The time since the last lap counts to `name`."""
        now = time.perf_counter()
        self._laps[name] = round(self._laps.get(name, 0.0) + (now - self._last) * 1000, 3)
        self._last = now

    def total(self) -> dict[str, float]:
        return self._laps | {"total": round((time.perf_counter() - self._started) * 1000, 3)}
