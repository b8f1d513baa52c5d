"""Puts the application together: reads the settings, opens resources and models, and connects all services.

Only this package reads the settings, and only it knows every other package. `application.create_app` is its entry
point."""
