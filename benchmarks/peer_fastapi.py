"""The peer for `make bench`: the same calls with FastAPI and SQLAlchemy's async ORM.

It returns the same JSON as CountOnMe from the same data. It is written as usual for such services: relationships with
`selectin` loading, whole rows through the ORM, and arithmetic in Python.

It does no more work than CountOnMe: it finds a token by its device's id, and updates `last_seen_at` at most every
quarter of an hour. It does less where that is simpler: tokens are checked with SHA-256, amounts are floats, and rows
have no revision. The pool has a connection for each concurrent request.

`python -m benchmarks.peer_fastapi` creates the tables; `benchmarks.peer_workers` serves `app`.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, ForeignKey, String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Day = date  # for classes with a field that is named `date`
SEEN_EVERY = timedelta(minutes=15)

engine = create_async_engine(os.environ["PEER_DATABASE_URL"], pool_size=16)
async_session_factory = async_sessionmaker(engine, expire_on_commit=False)

# --- models ---------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True)}

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class Device(Base):
    __tablename__ = "devices"

    token_hash: Mapped[str] = mapped_column(String(64))
    last_seen_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))


class Product(Base):
    __tablename__ = "products"

    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    brand: Mapped[str | None] = mapped_column(String(100))
    kcal_100g: Mapped[int]
    protein_100g: Mapped[float | None]
    carbs_100g: Mapped[float | None]
    fat_100g: Mapped[float | None]
    sugars_100g: Mapped[float | None]
    saturated_fat_100g: Mapped[float | None]
    fiber_100g: Mapped[float | None]
    salt_100g: Mapped[float | None]
    unit: Mapped[str] = mapped_column(String(2), default="g")
    barcode: Mapped[str | None] = mapped_column(String(14))
    is_favorite: Mapped[bool] = mapped_column(default=False)
    catalog_food_id: Mapped[UUID | None]

    portions: Mapped[list["Portion"]] = relationship(lazy="selectin")


class Portion(Base):
    __tablename__ = "portions"

    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    grams: Mapped[float]
    is_default: Mapped[bool] = mapped_column(default=False)


class FoodEntry(Base):
    __tablename__ = "food_entries"

    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"), index=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    portion_id: Mapped[UUID | None] = mapped_column(ForeignKey("portions.id"))
    quantity: Mapped[float | None]
    grams: Mapped[float]
    date: Mapped[Day]
    time: Mapped[str | None] = mapped_column(String(12))
    meal_type: Mapped[str] = mapped_column(String(30))

    product: Mapped[Product] = relationship(lazy="selectin")

    portion_name: Mapped[str | None] = mapped_column(String(100))
    portion_grams: Mapped[float | None]

    @property
    def product_name(self) -> str:
        return self.product.name

    @property
    def unit(self) -> str:
        return self.product.unit

    @property
    def kcal(self) -> float:
        return self.scaled(self.product.kcal_100g)

    @property
    def protein(self) -> float | None:
        return self.scaled(self.product.protein_100g)

    @property
    def carbs(self) -> float | None:
        return self.scaled(self.product.carbs_100g)

    @property
    def fat(self) -> float | None:
        return self.scaled(self.product.fat_100g)

    @property
    def sugars(self) -> float | None:
        return self.scaled(self.product.sugars_100g)

    @property
    def saturated_fat(self) -> float | None:
        return self.scaled(self.product.saturated_fat_100g)

    @property
    def fiber(self) -> float | None:
        return self.scaled(self.product.fiber_100g)

    @property
    def salt(self) -> float | None:
        return self.scaled(self.product.salt_100g)

    def scaled(self, per_100g: float | None) -> float | None:
        return None if per_100g is None else round(per_100g * self.grams / 100, 2)


# --- schemas --------------------------------------------------------------------------------------


class RegisterRequest(BaseModel):
    device_id: UUID


class RegisterResponse(BaseModel):
    token: str


class RowRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime
    updated_at: datetime | None


class PortionRead(RowRead):
    product_id: UUID
    name: str
    grams: float
    is_default: bool


class ProductCreate(BaseModel):
    name: str = Field(min_length=1, max_length=100)
    brand: str | None = Field(None, min_length=1, max_length=100)
    kcal_100g: int = Field(ge=0, le=1000)
    protein_100g: float | None = Field(None, ge=0, le=100)
    carbs_100g: float | None = Field(None, ge=0, le=100)
    fat_100g: float | None = Field(None, ge=0, le=100)
    sugars_100g: float | None = Field(None, ge=0, le=100)
    saturated_fat_100g: float | None = Field(None, ge=0, le=100)
    fiber_100g: float | None = Field(None, ge=0, le=100)
    salt_100g: float | None = Field(None, ge=0, le=100)
    unit: Literal["g", "ml"] = "g"
    barcode: str | None = Field(None, min_length=8, max_length=14)
    is_favorite: bool = False
    catalog_food_id: UUID | None = None


class ProductRead(RowRead):
    name: str
    brand: str | None
    kcal_100g: int
    protein_100g: float | None
    carbs_100g: float | None
    fat_100g: float | None
    sugars_100g: float | None
    saturated_fat_100g: float | None
    fiber_100g: float | None
    salt_100g: float | None
    unit: str
    barcode: str | None
    is_favorite: bool
    catalog_food_id: UUID | None
    portions: list[PortionRead]


class FoodEntryCreate(BaseModel):
    product_id: UUID
    grams: float = Field(gt=0, le=100_000)
    date: Day
    time: str | None = Field(None, pattern="^[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{3})?)?$")
    meal_type: str = Field("snacks", min_length=1, max_length=30)


class FoodEntryRead(RowRead):
    product_id: UUID
    portion_id: UUID | None
    quantity: float | None
    grams: float
    date: Day
    time: str | None
    meal_type: str
    portion_name: str | None
    portion_grams: float | None
    product_name: str
    unit: str
    kcal: float
    protein: float | None
    carbs: float | None
    fat: float | None
    sugars: float | None
    saturated_fat: float | None
    fiber: float | None
    salt: float | None


NUTRIENTS = ("protein", "carbs", "fat", "sugars", "saturated_fat", "fiber", "salt")


class MealSummary(BaseModel):
    entries: int = 0
    kcal: float = 0
    protein: float = 0
    carbs: float = 0
    fat: float = 0
    sugars: float = 0
    saturated_fat: float = 0
    fiber: float = 0
    salt: float = 0


class DaySummary(MealSummary):
    date: Day
    incomplete: list[str]
    meals: dict[str, MealSummary]


# --- devices --------------------------------------------------------------------------------------

security = HTTPBearer()
auth = APIRouter(prefix="/v1/auth")


async def get_session() -> AsyncGenerator[AsyncSession, None]:
    async with async_session_factory() as session:
        yield session


async def get_current_device_id(
    credentials: HTTPAuthorizationCredentials = Depends(security),
    session: AsyncSession = Depends(get_session),
) -> UUID:
    device = await find_device(session, credentials.credentials)
    if not device:
        raise HTTPException(status_code=401, detail="Invalid or expired token")
    now = datetime.now(UTC)
    if now - device.last_seen_at > SEEN_EVERY:
        device.last_seen_at = now
        await session.commit()
    return device.id


async def find_device(session: AsyncSession, token: str) -> Device | None:
    try:
        device_id = UUID(token.partition(".")[0])
    except ValueError:
        return None
    stmt = select(Device).where(Device.id == device_id, Device.deleted_at.is_(None))
    device = (await session.execute(stmt)).scalar_one_or_none()
    return device if device and hmac.compare_digest(hash_of(token), device.token_hash) else None


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@auth.post("/register", response_model=RegisterResponse)
async def register_device(data: RegisterRequest, session: AsyncSession = Depends(get_session)):
    token = f"{data.device_id}.{secrets.token_urlsafe(32)}"
    session.add(Device(id=data.device_id, token_hash=hash_of(token)))
    try:
        await session.commit()
    except IntegrityError as error:
        raise HTTPException(status_code=409, detail="Device already registered") from error
    return RegisterResponse(token=token)


# --- products -------------------------------------------------------------------------------------

products = APIRouter(prefix="/v1/products")


@products.get("", response_model=list[ProductRead])
async def list_products(
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
    limit: int = 50,
    offset: int = 0,
):
    stmt = (
        select(Product)
        .where(Product.device_id == device_id, Product.deleted_at.is_(None))
        .order_by(Product.name)
        .limit(limit)
        .offset(offset)
    )
    return (await session.execute(stmt)).scalars().all()


@products.get("/{product_id}", response_model=ProductRead)
async def get_product(
    product_id: UUID,
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    product = await find_product(session, device_id, product_id)
    if not product:
        raise HTTPException(status_code=404, detail="Product not found")
    return product


async def find_product(session: AsyncSession, device_id: UUID, product_id: UUID) -> Product | None:
    stmt = select(Product).where(Product.id == product_id, Product.device_id == device_id, Product.deleted_at.is_(None))
    return (await session.execute(stmt)).scalar_one_or_none()


@products.post("", response_model=ProductRead, status_code=201)
async def create_product(
    data: ProductCreate,
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    portion = Portion(name="100g", grams=100, is_default=True)
    product = Product(device_id=device_id, **data.model_dump(), portions=[portion])
    session.add(product)
    await session.commit()
    return product


# --- food entries ---------------------------------------------------------------------------------

food_entries = APIRouter(prefix="/v1/food-entries")


@food_entries.get("", response_model=list[FoodEntryRead])
async def list_food_entries(
    day: date = Query(alias="date"),
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    return await entries_between(session, device_id, day, day)


async def entries_between(session: AsyncSession, device_id: UUID, first: date, last: date) -> Iterable[FoodEntry]:
    stmt = (
        select(FoodEntry)
        .where(
            FoodEntry.device_id == device_id,
            FoodEntry.date >= first,
            FoodEntry.date <= last,
            FoodEntry.deleted_at.is_(None),
        )
        .order_by(FoodEntry.date.desc(), FoodEntry.time, FoodEntry.created_at)
    )
    return (await session.execute(stmt)).scalars().all()


@food_entries.get("/summary", response_model=list[DaySummary])
async def summarise(
    first: date = Query(alias="from"),
    last: date = Query(alias="to"),
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    by_day: dict[date, list[FoodEntry]] = defaultdict(list)
    for entry in await entries_between(session, device_id, first, last):
        by_day[entry.date].append(entry)
    calendar = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [day_summary(day, by_day[day]) for day in calendar]


def day_summary(day: date, entries: list[FoodEntry]) -> DaySummary:
    by_meal: dict[str, list[FoodEntry]] = defaultdict(list)
    for entry in entries:
        by_meal[entry.meal_type].append(entry)
    meals = {meal: MealSummary(**totals(of_meal)) for meal, of_meal in by_meal.items()}
    incomplete = [name for name in NUTRIENTS if any(getattr(entry, name) is None for entry in entries)]
    return DaySummary(date=day, **totals(entries), incomplete=incomplete, meals=meals)


def totals(entries: list[FoodEntry]) -> dict:
    amounts = {name: round(sum(getattr(entry, name) or 0 for entry in entries), 2) for name in ("kcal", *NUTRIENTS)}
    return {"entries": len(entries), **amounts}


@food_entries.post("", response_model=FoodEntryRead, status_code=201)
async def create_food_entry(
    data: FoodEntryCreate,
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    product = await find_product(session, device_id, data.product_id)
    if not product:
        raise HTTPException(status_code=422, detail="Validation error")
    entry = FoodEntry(device_id=device_id, product=product, **data.model_dump())
    session.add(entry)
    await session.commit()
    return entry


# --- application ----------------------------------------------------------------------------------

app = FastAPI()
for router in (auth, products, food_entries):
    app.include_router(router)


async def create_tables() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(create_tables())
