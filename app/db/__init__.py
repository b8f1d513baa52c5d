"""PostgreSQL: connections, tables, migrations and repositories.

`Database` opens transactions and single statements, each with the repositories on one connection. `EmbeddedPostgres`
runs a server of our own where none is configured."""
