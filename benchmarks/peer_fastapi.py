"""The peer: the same calls with FastAPI and SQLAlchemy's async ORM, in one file.

It returns the same JSON as CountOnMe from the same data, so that both do the same work. It is written as such services
usually are: relationships that load with `selectin`, whole rows through the ORM, arithmetic in Python.

Three courtesies make it stronger: tokens are found by the device's id and checked with SHA-256; the pool holds a
connection for every request at once; amounts are floats, which cost less than decimals.

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
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, status
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Date, DateTime, Float, ForeignKey, Integer, String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Day = date  # in a class that has a field of that name

engine = create_async_engine(os.environ["PEER_DATABASE_URL"], pool_size=16)
async_session_factory = async_sessionmaker(engine, expire_on_commit=False)

# --- models ---------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class SoftDeleteMixin:
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), nullable=True, default=None)


class TimestampMixin:
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), nullable=True)


class Device(SoftDeleteMixin, Base):
    __tablename__ = "devices"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(128))
    last_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), nullable=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))


class Product(TimestampMixin, SoftDeleteMixin, Base):
    __tablename__ = "products"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    kcal_100g: Mapped[int] = mapped_column(Integer)
    protein_100g: Mapped[float | None] = mapped_column(Float, nullable=True)
    carbs_100g: Mapped[float | None] = mapped_column(Float, nullable=True)
    fat_100g: Mapped[float | None] = mapped_column(Float, nullable=True)
    barcode: Mapped[str | None] = mapped_column(String(14), nullable=True)

    portions: Mapped[list["Portion"]] = relationship(back_populates="product", lazy="selectin")


class Portion(TimestampMixin, SoftDeleteMixin, Base):
    __tablename__ = "portions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    grams: Mapped[float] = mapped_column(Float)
    is_default: Mapped[bool] = mapped_column(default=False)

    product: Mapped[Product] = relationship(back_populates="portions")


class FoodEntry(TimestampMixin, SoftDeleteMixin, Base):
    __tablename__ = "food_entries"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"), index=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    portion_id: Mapped[UUID | None] = mapped_column(ForeignKey("portions.id"), nullable=True)
    quantity: Mapped[float | None] = mapped_column(Float, nullable=True)
    grams: Mapped[float] = mapped_column(Float)
    date: Mapped[Day] = mapped_column(Date)
    meal_type: Mapped[str] = mapped_column(String(9))

    product: Mapped[Product] = relationship(lazy="selectin")

    @property
    def product_name(self) -> str:
        return self.product.name

    @property
    def kcal(self) -> float:
        return round(self.product.kcal_100g * self.grams / 100, 2)

    @property
    def protein(self) -> float | None:
        return self.scaled(self.product.protein_100g)

    @property
    def carbs(self) -> float | None:
        return self.scaled(self.product.carbs_100g)

    @property
    def fat(self) -> float | None:
        return self.scaled(self.product.fat_100g)

    def scaled(self, per_100g: float | None) -> float | None:
        return None if per_100g is None else round(per_100g * self.grams / 100, 2)


# --- schemas --------------------------------------------------------------------------------------


class RegisterRequest(BaseModel):
    device_id: UUID


class RegisterResponse(BaseModel):
    token: str


class PortionRead(BaseModel):
    id: UUID
    product_id: UUID
    name: str
    grams: float
    is_default: bool
    created_at: datetime
    updated_at: datetime | None

    model_config = ConfigDict(from_attributes=True)


class ProductCreate(BaseModel):
    name: str = Field(..., min_length=1, max_length=100)
    kcal_100g: int = Field(..., ge=0, le=1000)
    protein_100g: float | None = Field(None, ge=0, le=100)
    carbs_100g: float | None = Field(None, ge=0, le=100)
    fat_100g: float | None = Field(None, ge=0, le=100)
    barcode: str | None = Field(None, min_length=8, max_length=14)


class ProductRead(BaseModel):
    id: UUID
    name: str
    kcal_100g: int
    protein_100g: float | None
    carbs_100g: float | None
    fat_100g: float | None
    barcode: str | None
    portions: list[PortionRead]
    created_at: datetime
    updated_at: datetime | None

    model_config = ConfigDict(from_attributes=True)


class FoodEntryCreate(BaseModel):
    product_id: UUID
    grams: float = Field(..., gt=0, le=100_000)
    date: Day
    meal_type: str = Field("snacks", pattern="^(breakfast|lunch|dinner|snacks)$")


class FoodEntryRead(BaseModel):
    id: UUID
    product_id: UUID
    portion_id: UUID | None
    quantity: float | None
    grams: float
    date: Day
    meal_type: str
    product_name: str
    kcal: float
    protein: float | None
    carbs: float | None
    fat: float | None
    created_at: datetime
    updated_at: datetime | None

    model_config = ConfigDict(from_attributes=True)


class MealSummary(BaseModel):
    entries: int = 0
    kcal: float = 0
    protein: float = 0
    carbs: float = 0
    fat: float = 0


class DaySummary(MealSummary):
    date: Day
    meals: dict[str, MealSummary]


# --- services -------------------------------------------------------------------------------------


class AuthService:
    """Tokens that are found by their device's id."""

    def __init__(self, session: AsyncSession):
        self.session = session

    async def register_device(self, device_id: UUID) -> str:
        token = f"{device_id}.{secrets.token_urlsafe(32)}"
        device = Device(id=device_id, token_hash=hashlib.sha256(token.encode()).hexdigest())
        self.session.add(device)
        await self.session.commit()
        return token

    async def verify_token(self, token: str) -> Device | None:
        try:
            device_id = UUID(token.partition(".")[0])
        except ValueError:
            return None
        stmt = select(Device).where(Device.id == device_id, Device.deleted_at.is_(None))
        device = (await self.session.execute(stmt)).scalar_one_or_none()
        if device and hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), device.token_hash):
            return device
        return None


class ProductService:
    def __init__(self, session: AsyncSession):
        self.session = session

    async def list(self, device_id: UUID, limit: int = 50, offset: int = 0) -> list[Product]:
        stmt = (
            select(Product)
            .where(Product.device_id == device_id, Product.deleted_at.is_(None))
            .order_by(Product.name)
            .limit(limit)
            .offset(offset)
        )
        result = await self.session.execute(stmt)
        return list(result.scalars().all())

    async def get(self, device_id: UUID, product_id: UUID) -> Product | None:
        stmt = select(Product).where(
            Product.id == product_id, Product.device_id == device_id, Product.deleted_at.is_(None)
        )
        result = await self.session.execute(stmt)
        return result.scalar_one_or_none()

    async def create(self, device_id: UUID, data: ProductCreate) -> Product:
        product = Product(device_id=device_id, **data.model_dump())
        self.session.add(product)
        await self.session.commit()
        await self.session.refresh(product)
        return product


class FoodEntryService:
    def __init__(self, session: AsyncSession):
        self.session = session

    async def between(self, device_id: UUID, first: date, last: date) -> list[FoodEntry]:
        stmt = (
            select(FoodEntry)
            .where(
                FoodEntry.device_id == device_id,
                FoodEntry.date >= first,
                FoodEntry.date <= last,
                FoodEntry.deleted_at.is_(None),
            )
            .order_by(FoodEntry.date.desc(), FoodEntry.created_at)
        )
        result = await self.session.execute(stmt)
        return list(result.scalars().all())

    async def create(self, device_id: UUID, data: FoodEntryCreate) -> FoodEntry | None:
        if not await ProductService(self.session).get(device_id, data.product_id):
            return None
        entry = FoodEntry(device_id=device_id, **data.model_dump())
        self.session.add(entry)
        await self.session.commit()
        await self.session.refresh(entry)
        return entry

    async def summary(self, device_id: UUID, first: date, last: date) -> list[DaySummary]:
        by_day: dict[date, list[FoodEntry]] = defaultdict(list)
        for entry in await self.between(device_id, first, last):
            by_day[entry.date].append(entry)
        calendar = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [day_summary(day, by_day[day]) for day in calendar]


def day_summary(day: date, entries: list[FoodEntry]) -> DaySummary:
    by_meal: dict[str, list[FoodEntry]] = defaultdict(list)
    for entry in entries:
        by_meal[entry.meal_type].append(entry)
    meals = {meal: MealSummary(**added_up(of_meal)) for meal, of_meal in by_meal.items()}
    return DaySummary(date=day, **added_up(entries), meals=meals)


def added_up(entries: Iterable[FoodEntry]) -> dict:
    entries = list(entries)
    return {
        "entries": len(entries),
        "kcal": round(sum(entry.kcal for entry in entries), 2),
        "protein": round(sum(entry.protein or 0 for entry in entries), 2),
        "carbs": round(sum(entry.carbs or 0 for entry in entries), 2),
        "fat": round(sum(entry.fat or 0 for entry in entries), 2),
    }


# --- dependencies ---------------------------------------------------------------------------------

security = HTTPBearer()


async def get_session() -> AsyncGenerator[AsyncSession, None]:
    async with async_session_factory() as session:
        try:
            yield session
        finally:
            await session.close()


async def get_current_device_id(
    credentials: HTTPAuthorizationCredentials = Depends(security),
    session: AsyncSession = Depends(get_session),
) -> UUID:
    service = AuthService(session)
    device = await service.verify_token(credentials.credentials)
    if not device:
        raise HTTPException(status_code=status.HTTP_401_UNAUTHORIZED, detail="Invalid or expired token")
    device.last_seen_at = datetime.now(UTC)
    await session.commit()
    return device.id


# --- routers --------------------------------------------------------------------------------------

auth = APIRouter(prefix="/v1/auth", tags=["auth"])
products = APIRouter(prefix="/v1/products", tags=["products"])
food_entries = APIRouter(prefix="/v1/food-entries", tags=["food entries"])


@auth.post("/register", response_model=RegisterResponse)
async def register_device(data: RegisterRequest, session: AsyncSession = Depends(get_session)):
    service = AuthService(session)
    try:
        return RegisterResponse(token=await service.register_device(data.device_id))
    except Exception as error:
        raise HTTPException(status_code=status.HTTP_409_CONFLICT, detail="Device already registered") from error


@products.get("", response_model=list[ProductRead])
async def list_products(
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
    limit: int = 50,
    offset: int = 0,
):
    return await ProductService(session).list(device_id, limit=limit, offset=offset)


@products.get("/{product_id}", response_model=ProductRead)
async def get_product(
    product_id: UUID,
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    product = await ProductService(session).get(device_id, product_id)
    if not product:
        raise HTTPException(status_code=404, detail="Product not found")
    return product


@products.post("", response_model=ProductRead, status_code=status.HTTP_201_CREATED)
async def create_product(
    data: ProductCreate,
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    return await ProductService(session).create(device_id, data)


@food_entries.get("", response_model=list[FoodEntryRead])
async def list_food_entries(
    day: date = Query(alias="date"),
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    return await FoodEntryService(session).between(device_id, day, day)


@food_entries.get("/summary", response_model=list[DaySummary])
async def summarise(
    first: date = Query(alias="from"),
    last: date = Query(alias="to"),
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    return await FoodEntryService(session).summary(device_id, first, last)


@food_entries.post("", response_model=FoodEntryRead, status_code=status.HTTP_201_CREATED)
async def create_food_entry(
    data: FoodEntryCreate,
    device_id: UUID = Depends(get_current_device_id),
    session: AsyncSession = Depends(get_session),
):
    entry = await FoodEntryService(session).create(device_id, data)
    if not entry:
        raise HTTPException(status_code=422, detail="Validation error")
    return entry


# --- application ----------------------------------------------------------------------------------

app = FastAPI(title="CountOnMe API", version="1.0.0")
app.include_router(auth)
app.include_router(products)
app.include_router(food_entries)


@app.exception_handler(ValidationError)
async def validation_exception_handler(request: Request, exc: ValidationError):
    return JSONResponse(status_code=422, content={"detail": "Validation error", "errors": exc.errors()})


async def create_tables() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(create_tables())
