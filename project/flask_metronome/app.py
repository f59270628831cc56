"""The reference app: the demo's shop, made of nothing but settings.

``flask --app flask_metronome.app run``, ``celery -A flask_metronome.app worker``
and Compose use it; so does ``metronome …`` when no other app is named.
"""

from __future__ import annotations

import os

from flask import Flask

from flask_metronome.demo.pages import shop_pages
from flask_metronome.demo.shop import Shop, ShopSettings
from flask_metronome.demo.tasks import declare
from flask_metronome.extension import Metronome


def create_app() -> Flask:
    """The shop with its Metronome; every ``METRONOME_*`` of the environment counts.

    :raises SettingInvalid: one of them is unknown or has a wrong value.
    """
    app = Flask("flask_metronome.demo")
    metronome = Metronome(app)
    settings = metronome.state.settings
    shop = Shop(ShopSettings.read(os.environ, settings.data_dir / "shop"))
    app.extensions["shop"] = shop
    declare(metronome, shop)
    app.register_blueprint(shop_pages(shop, settings.url_prefix))
    return app
