"""greenback with SQLAlchemy's asyncio: synchronous code awaits, over aiosqlite.

python -m loopmod examples/recipes/tools/greenback_sqlalchemy.py
"""

import asyncio

import greenback
from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(AsyncAttrs, DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list["Book"]] = relationship()


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))


def titles(session: AsyncSession, name: str) -> list[str]:
    """A function without `async`, as old code and property getters are."""
    author = greenback.await_(session.scalar(select(Author).where(Author.name == name)))
    return sorted(book.title for book in greenback.await_(author.awaitable_attrs.books))


async def use(sessions: async_sessionmaker[AsyncSession], name: str) -> list[str]:
    await greenback.ensure_portal()
    async with sessions() as session:
        return titles(session, name)


async def cancelled() -> str:
    await greenback.ensure_portal()
    try:
        greenback.await_(asyncio.sleep(60))
    except asyncio.CancelledError:
        return "cancelled"
    return "slept"


async def main() -> None:
    loop = asyncio.get_running_loop()
    print(type(loop).__module__)
    engine = create_async_engine("sqlite+aiosqlite://")
    sessions = async_sessionmaker(engine)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions.begin() as session:
        session.add(Author(name="Le Guin", books=[Book(title="The Dispossessed"), Book(title="Rocannon's World")]))
        session.add(Author(name="Lem", books=[Book(title="Solaris")]))
    print(await asyncio.gather(*(asyncio.create_task(use(sessions, name)) for name in ("Le Guin", "Lem"))))
    # Tasks of both kinds in one program: a stock one on this loop.
    print(await asyncio.Task(use(sessions, "Lem"), loop=loop), await use(sessions, "Le Guin"))
    sleeper = asyncio.create_task(cancelled())
    await asyncio.sleep(0.01)
    sleeper.cancel()
    print(await sleeper)
    # A portal given from outside, to a task that has begun.
    given = asyncio.create_task(late())
    await asyncio.sleep(0)
    greenback.bestow_portal(given)
    print(await given)
    await engine.dispose()


async def late() -> str:
    await asyncio.sleep(0.01)
    return greenback.await_(asyncio.sleep(0, "portal from outside"))


if __name__ == "__main__":
    asyncio.run(main())
