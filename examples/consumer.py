"""Prints what went wrong, as it happens: ``python examples/consumer.py amqp://…``."""

import sys

from kombu import Connection, Exchange, Queue

events = Exchange("metronome.events", "topic", passive=True)
alarms = Queue("alarms", events, routing_key="run.failed.#")


def hear(event, message):
    print(event["type"], event["data"]["schedule"], event["data"]["error"], flush=True)
    message.ack()


with Connection(sys.argv[1]) as broker, broker.Consumer(alarms, callbacks=[hear]):
    while True:
        broker.drain_events()
