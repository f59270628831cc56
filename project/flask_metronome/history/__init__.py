"""Every read that serves people: pages, API. Asynchronous, and it never writes.

Each function takes an ``AsyncConnection`` and costs a fixed number of
statements, however many schedules there are. Rows leave as frozen values.
"""
