"""The HTTP server: routes, authentication, quotas, errors."""
