#!/bin/sh
# Before anything else starts: tables, queues, and the shop's own data.
set -eu
flask metronome init-db
flask metronome topology apply
python -c '
import os
from pathlib import Path
from flask_metronome.demo.shop import Shop, ShopSettings
Shop(ShopSettings.read(os.environ, Path("/var/lib/metronome/shop"))).begin().close()
'
