"""Customers, products, sessions and orders, the same ones for the same seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy.orm import Session as Transaction

from flask_metronome.demo.models import Base, Customer, Order, Product, Session

SEED = 20_261_120
CUSTOMERS = 240
SESSIONS = 900
DAYS = 60

_GIVEN_NAMES = (
    "Ada Amir Anna Ben Chiara Daniel Elif Emil Fatima Finn Greta Hana Henrik Ines "
    "Jakob Jonas Julia Karim Lara Lena Leo Lina Luca Maja Malik Marta Mila Nadia "
    "Noah Olga Oskar Paula Pavel Rosa Samir Sofia Theo Tilda Vera Yusuf "
)
_FAMILY_NAMES = (
    "Adler Bauer Berg Brandt Celik Costa Dietrich Eriksen Fischer Fuchs Garcia "
    "Haas Haddad Hoffmann Jansen Kaya Keller Klein Kovac Lang Lehmann Lindner "
    "Lopez Marek Meyer Moreau Nguyen Novak Otto Petrov Pohl Richter Rossi Sato "
    "Schulz Seidel Sommer Vogel Wagner Yilmaz "
)
_MADE_OF = ("Oak", "Linen", "Copper", "Enamel", "Wool", "Cork", "Glass", "Slate")
_THINGS = ("tray", "lamp", "blanket", "jug", "clock", "bowl")


def shop_data(now: datetime, *, seed: int = SEED) -> Iterator[list[Base]]:
    """Everything the shop begins with, in an order that keeps foreign keys happy.

    :param now: the end of the order history.
    """
    chance = random.Random(seed)
    yield list(_customers(chance))
    yield list(_products(chance))
    yield list(_sessions(chance, now))
    yield list(_orders(chance, now))


def visit(transaction: Transaction, now: datetime, chance: random.Random) -> int:
    """A moment of business: some visits, of which a few end with an order.

    :returns: how many orders were made.
    """
    orders = 0
    for _ in range(chance.randint(3, 9)):
        customer_id = chance.randint(1, CUSTOMERS)
        transaction.add(_session(chance, customer_id, now + timedelta(seconds=20)))
        if chance.random() < 0.4:
            transaction.add(_order(chance, customer_id, now))
            orders += 1
    return orders


def _customers(chance: random.Random) -> Iterator[Customer]:
    given_names, family_names = _GIVEN_NAMES.split(), _FAMILY_NAMES.split()
    for number in range(1, CUSTOMERS + 1):
        given, family = chance.choice(given_names), chance.choice(family_names)
        yield Customer(
            id=number,
            name=f"{given} {family}",
            email=f"{given}.{family}.{number}@example.com".lower(),
            wants_newsletter=chance.random() < 0.6,
        )


def _products(chance: random.Random) -> Iterator[Product]:
    names = [f"{made_of} {thing}" for thing in _THINGS for made_of in _MADE_OF]
    for number, name in enumerate(names, start=1):
        yield Product(
            id=number,
            name=name,
            price_cents=chance.randrange(900, 14_900, 100) - 1,
            stock=chance.randint(5, 80),
        )


def _sessions(chance: random.Random, now: datetime) -> Iterator[Session]:
    for _ in range(SESSIONS):
        ends = now + timedelta(minutes=chance.randint(-600, 300))
        yield _session(chance, chance.randint(1, CUSTOMERS), ends)


def _orders(chance: random.Random, now: datetime) -> Iterator[Order]:
    for day in range(DAYS):
        # People buy more towards the weekend, and the shop grows.
        date = now - timedelta(days=day)
        busy = 6 + (DAYS - day) // 8 + (6 if date.weekday() >= 4 else 0)
        for _ in range(chance.randint(busy // 2, busy)):
            moment = date - timedelta(seconds=chance.randint(0, 86_000))
            yield _order(chance, chance.randint(1, CUSTOMERS), moment)


def _session(chance: random.Random, customer_id: int, ends: datetime) -> Session:
    number = uuid.UUID(int=chance.getrandbits(128), version=4)
    return Session(id=str(number), customer_id=customer_id, expires_at=ends)


def _order(chance: random.Random, customer_id: int, moment: datetime) -> Order:
    quantity = chance.choice((1, 1, 1, 2, 2, 3))
    return Order(
        customer_id=customer_id,
        product_id=chance.randint(1, len(_MADE_OF) * len(_THINGS)),
        quantity=quantity,
        total_cents=quantity * chance.randrange(900, 14_900, 50),
        ordered_at=moment,
    )
