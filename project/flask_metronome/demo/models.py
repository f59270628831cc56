"""The shop's own tables; they have nothing to do with Metronome's."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_metronome.models import UtcDateTime


class Base(DeclarativeBase):
    """The shop's tables, each with the prefix ``shop_``."""

    type_annotation_map = {datetime: UtcDateTime}  # noqa: RUF012 (SQLAlchemy's own)


class Customer(Base):
    """Somebody who has bought or may buy."""

    __tablename__ = "shop_customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(String(190), unique=True)
    wants_newsletter: Mapped[bool]
    #: bronze, silver or gold, by what was spent lately
    tier: Mapped[str] = mapped_column(String(16), default="bronze")


class Product(Base):
    """Something to buy."""

    __tablename__ = "shop_products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    price_cents: Mapped[int]
    stock: Mapped[int]


class Session(Base):
    """A visit to the shop's site, until it expires."""

    __tablename__ = "shop_sessions"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("shop_customers.id"))
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Order(Base):
    """So many of one product, bought at one moment."""

    __tablename__ = "shop_orders"
    __table_args__ = (Index("ix_shop_orders_ordered_at", "ordered_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("shop_customers.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("shop_products.id"))
    quantity: Mapped[int]
    total_cents: Mapped[int]
    ordered_at: Mapped[datetime]
