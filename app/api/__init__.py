"""The HTTP interface: routes, schemas, authentication, idempotency and errors as problem documents.

Routes translate between requests and the use cases of `app.services`; they decide nothing themselves. A new route goes
into `routes`, its request and response into `schemas`."""
