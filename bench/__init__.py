"""`make bench`: pacskit beside its peers, interleaved in one run; medians and ratios on screen and as JSON.

Rules (docs/decisions/0004-bench.md): peers take turns in random order, so that a noisy machine hits all
alike; nothing is deleted during a run; a raw sender measures receivers.
"""
