"""Flow control: when the service may be asked, when it is asked again, and how much memory answers may take.

`limiter` holds the one state of a job; `concurrency`, `rate` and `circuit_breaker` are its three pure parts (how many at
once, how many a second, whether at all), and `shared_limiter` is one for several jobs. `retry` repeats one call, `memory` bounds what is held, `clock` tells the time.
"""
