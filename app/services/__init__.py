"""The use cases, one a module: tool calls, feedback, histories, the catalogue, keys, health.

Each service gets what it needs when it is made, in `app.composition`, and knows neither HTTP nor settings. Everything
it stores goes through `app.db`."""
