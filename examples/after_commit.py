"""Publish an event about a row when the row is committed. Start a hub, then run `python examples/after_commit.py`.

The database is in memory; each run creates it.
"""

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from tidings.integrations.sqlalchemy import publish_after_commit


class Base(DeclarativeBase):
    pass


class Price(Base):
    __tablename__ = "prices"

    symbol: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]


engine = create_engine("sqlite://", poolclass=StaticPool)
Base.metadata.create_all(engine)


def set_price(symbol: str, value: float) -> None:
    with Session(engine) as session, session.begin():
        session.merge(Price(symbol=symbol, value=value))
        publish_after_commit(session, "data:update", {"dataset": f"prices/{symbol}", "records": 1})
        if value < 0:
            raise ValueError(f"{symbol}: a price of {value}")  # nothing is stored, nothing is published


if __name__ == "__main__":
    for symbol, value in [("ABC", 1.5), ("DEF", -1.0), ("GHI", 2.5)]:
        try:
            set_price(symbol, value)
        except ValueError as error:
            print(error)
