#!/bin/sh
# Sees to it that the integration tests find RabbitMQ, MariaDB, Redis, Prometheus and a browser:
# says what they will use, and as root on Debian installs what is missing.
set -eu

say() { printf 'prepare: %s\n' "$*"; }

debian_root() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; }

refreshed=
install_package() {
  [ -n "$refreshed" ] || { apt-get update -qq; refreshed=yes; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "$1" >/dev/null
}

broker() {
  if [ -n "${METRONOME_TEST_BROKER_URL:-}" ]; then
    say "RabbitMQ: the one of METRONOME_TEST_BROKER_URL"
  elif docker info >/dev/null 2>&1; then
    say "RabbitMQ: in Docker"
  elif command -v rabbitmq-server >/dev/null || [ -e /usr/sbin/rabbitmq-server ]; then
    say "RabbitMQ: a private node of the installed rabbitmq-server"
  elif debian_root; then
    say "RabbitMQ: no Docker here, so Debian's rabbitmq-server is installed now"
    # the tests start private nodes of their own, so the system's is not wanted
    RUNLEVEL=1 install_package rabbitmq-server
  else
    say "RabbitMQ: none; start Docker, install rabbitmq-server, or set METRONOME_TEST_BROKER_URL"
  fi
}

browser() {
  for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then say "browser: $name"; return; fi
  done
  if debian_root; then
    say "browser: none here, so Debian's chromium is installed now"
    install_package chromium
  else
    say "browser: none; install chromium, or the browser tests fail"
  fi
}

mariadb() {
  if command -v mariadbd >/dev/null || [ -e /usr/sbin/mariadbd ]; then
    say "MariaDB: the installed server"
  elif debian_root; then
    say "MariaDB: none here, so Debian's mariadb-server is installed now"
    RUNLEVEL=1 install_package mariadb-server
  else
    say "MariaDB: none; its tests are left out unless CI is set"
  fi
}

redis() {
  if command -v redis-server >/dev/null; then
    say "Redis: the installed server"
  elif debian_root; then
    say "Redis: none here, so Debian's redis-server is installed now"
    RUNLEVEL=1 install_package redis-server
  else
    say "Redis: none; its test is left out"
  fi
}

prometheus() {
  if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    say "Prometheus: the installed server"
  elif debian_root; then
    say "Prometheus: none here, so Debian's prometheus is installed now"
    RUNLEVEL=1 install_package prometheus
  else
    say "Prometheus: none; its tests are left out unless CI is set"
  fi
}

broker
browser
mariadb
redis
prometheus
