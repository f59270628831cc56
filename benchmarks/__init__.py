"""Benchmarks: ``make bench``, or ``python -m benchmarks [--quick] [NAME …]``.

They measure this machine, now, and little else: compare two trees on one machine,
never two machines.
"""
