"""Words for the synthetic retailer: a product tree of three levels, brands, sizes, places."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Department:
    """One top-level branch of the tree and how its products behave."""

    name: str
    price: float
    """Median price."""
    staple: bool
    """Whether people use it up and buy it again."""
    swing: float
    """Seasonal swing of demand: 0 = none, 0.5 = half more at the peak and half less at the trough."""
    peak: int
    """Day of the year of the peak."""
    tree: dict[str, tuple[str, ...]]
    """Category -> sub-categories. Names repeat under different parents on purpose: only full paths are unique."""


DEPARTMENTS = (
    Department(name="Dairy", price=2.2, staple=True, swing=0.05, peak=10, tree={
        "Milk": ("Whole Milk", "Skimmed Milk", "Organic"), "Cheese": ("Hard Cheese", "Soft Cheese", "Organic"),
        "Yoghurt": ("Plain Yoghurt", "Fruit Yoghurt", "Drinks"), "Eggs & Butter": ("Eggs", "Butter", "Spreads")}),
    Department(name="Bakery", price=2.6, staple=True, swing=0.05, peak=350, tree={
        "Bread": ("White Bread", "Rye Bread", "Organic"), "Rolls": ("Bread Rolls", "Bagels", "Croissants"),
        "Cakes": ("Sponge Cake", "Muffins", "Other")}),
    Department(name="Produce", price=2.0, staple=True, swing=0.25, peak=190, tree={
        "Fruit": ("Apples", "Bananas", "Berries", "Citrus"), "Vegetables": ("Tomatoes", "Potatoes", "Salad", "Onions"),
        "Herbs": ("Fresh Herbs", "Other")}),
    Department(name="Meat & Fish", price=6.5, staple=True, swing=0.15, peak=355, tree={
        "Meat": ("Beef", "Pork", "Poultry", "Organic"), "Fish": ("Salmon", "White Fish", "Other"),
        "Cold Cuts": ("Ham", "Salami", "Sausages")}),
    Department(name="Pantry", price=2.4, staple=True, swing=0.05, peak=20, tree={
        "Pasta & Rice": ("Pasta", "Rice", "Noodles"), "Tins": ("Tinned Tomatoes", "Beans", "Tuna"),
        "Breakfast": ("Muesli", "Cornflakes", "Jam", "Honey"), "Oils & Spices": ("Olive Oil", "Vinegar", "Spices")}),
    Department(name="Snacks", price=2.3, staple=False, swing=0.15, peak=350, tree={
        "Sweet": ("Chocolate", "Biscuits", "Fruit Gums"), "Salty": ("Crisps", "Nuts", "Crackers"),
        "Bars": ("Cereal Bars", "Protein Bars", "Organic")}),
    Department(name="Drinks", price=3.4, staple=True, swing=0.2, peak=195, tree={
        "Hot Drinks": ("Coffee", "Tea", "Cocoa"), "Soft Drinks": ("Water", "Juice", "Cola", "Lemonade"),
        "Alcohol": ("Beer", "Red Wine", "White Wine")}),
    Department(name="Frozen", price=4.1, staple=False, swing=0.3, peak=200, tree={
        "Meals": ("Pizza", "Lasagne", "Soups"), "Frozen Vegetables": ("Peas", "Spinach", "Chips"),
        "Ice Cream": ("Ice Cream Tubs", "Ice Lollies")}),
    Department(name="Household", price=4.8, staple=True, swing=0.05, peak=100, tree={
        "Laundry": ("Washing Powder", "Softener"), "Paper": ("Toilet Paper", "Kitchen Roll", "Tissues"),
        "Cleaning": ("Dish Soap", "All-purpose Cleaner", "Sponges", "Bin Bags")}),
    Department(name="Beauty", price=6.0, staple=True, swing=0.1, peak=180, tree={
        "Hair": ("Shampoo", "Conditioner", "Hair Colour"), "Body": ("Shower Gel", "Body Lotion", "Deodorant"),
        "Teeth": ("Toothpaste", "Toothbrushes")}),
    Department(name="Baby", price=9.0, staple=True, swing=0.0, peak=1, tree={
        "Care": ("Nappies", "Wipes", "Other"), "Food": ("Baby Milk", "Baby Porridge", "Organic")}),
    Department(name="Pets", price=5.5, staple=True, swing=0.0, peak=1, tree={
        "Dogs": ("Dog Food", "Dog Treats", "Other"), "Cats": ("Cat Food", "Cat Litter", "Other")}),
    Department(name="Home", price=22.0, staple=False, swing=0.3, peak=340, tree={
        "Kitchen": ("Pans", "Knives", "Glasses"), "Garden": ("Seeds", "Garden Tools", "Planters"),
        "Textiles": ("Towels", "Bed Linen", "Cushions")}),
    Department(name="Electronics", price=290.0, staple=False, swing=0.35, peak=345, tree={
        "Computing": ("Laptops", "Keyboards", "Monitors"), "Sound": ("Headphones", "Speakers"),
        "Small Appliances": ("Coffee Machines", "Kettles", "Vacuum Cleaners")}),
)  # fmt: skip

BRANDS = (
    "Alder", "Bluebell", "Cobalt", "Dunmore", "Elmfield", "Fairway", "Goldcrest", "Harrow", "Ivory", "Juniper",
    "Kestrel", "Larkspur", "Meadow", "Northgate", "Oakhurst", "Primrose", "Quill", "Rowan", "Silverdale", "Tansy",
    "Umber", "Vale", "Willow", "Yarrow",
)  # fmt: skip
STYLES = ("Classic", "Fresh", "Family", "Fine", "Simple", "Gold", "Light", "Rich", "Daily", "Select", "Pure", "Value")
SIZES = ("small", "medium", "large", "2-pack", "4-pack", "6-pack")

REGIONS = ("North", "South", "East", "West", "Centre")
TOWN_HEADS = ("Ash", "Bir", "Cold", "Dray", "East", "Fen", "Green", "Hart", "King", "Lang", "Mill", "Nor", "Oak", "Pen")
TOWN_TAILS = ("ford", "ton", "bury", "field", "mouth", "ham", "stead", "wick", "bridge", "well")


def town(number: int) -> str:
    """The name of a town: readable for the first 140, numbered after that."""
    head, tail = number % len(TOWN_HEADS), number // len(TOWN_HEADS)
    name = TOWN_HEADS[head] + TOWN_TAILS[(tail + 3 * head) % len(TOWN_TAILS)]
    turn = tail // len(TOWN_TAILS)
    return f"{name} {turn + 1}" if turn else name
