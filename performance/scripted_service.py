"""`petool serve` with an engine that answers at once: `python -m performance.scripted_service`, settings as usual.

With `PETOOL_ENGINE=vllm` the scripted engine stands in for vLLM's server; any other engine is the configured one.
"""

import uvicorn

from app.composition.application import create_app
from app.composition.settings import Settings
from tests.support.scripted_engine import ScriptedEngine


def main() -> None:
    settings = Settings()
    engines = [ScriptedEngine(max_waiting=settings.engine_queue, shared=False)] if settings.engine == "vllm" else []
    app = create_app(settings, engines=engines)
    uvicorn.run(app, host=settings.host, port=settings.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
