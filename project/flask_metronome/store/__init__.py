"""Every write to the database. One file a subject, plain functions.

Each function takes a connection inside a transaction of the caller's and the
deciding ``now``; none commits and none reads a clock.
"""
