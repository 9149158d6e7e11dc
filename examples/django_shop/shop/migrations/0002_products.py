"""Something to buy."""

from __future__ import annotations

from typing import Any

from django.db import migrations

PRODUCTS = [
    (
        "tea",
        "Kericho tea, 500 g",
        "Black tea from the hills around Kericho, picked this season. Strong, for chai.",
        350,
    ),
    ("coffee", "Nyeri coffee, 250 g", "Washed AA beans from the slopes of Mount Kenya, roasted in Nairobi.", 650),
    ("basket", "Kiondo basket", "Woven by hand of sisal in Machakos, with leather straps.", 1800),
]


def stock(apps: Any, _schema_editor: Any) -> None:
    """Put the products on the shelf."""
    product = apps.get_model("shop", "Product")
    for slug, name, description, price in PRODUCTS:
        product.objects.get_or_create(slug=slug, defaults={"name": name, "description": description, "price": price})


class Migration(migrations.Migration):
    """Data alone."""

    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(stock, migrations.RunPython.noop)]
