"""The REST service: names, credentials, transport, the error table, catalogue and pixels."""
