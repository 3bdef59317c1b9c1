"""The facility in a box: a schedule, mail, errands and data places, with knobs that make them fail.

It imports nothing of the IOC nor of its handlers and keeps its own wire formats on purpose: a shared
format would share a misreading.
"""
