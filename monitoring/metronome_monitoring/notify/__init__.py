"""Sends notifications: by mail, as signed webhooks, and by whatever Apprise knows."""

from __future__ import annotations
