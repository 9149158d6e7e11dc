"""The tables."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import mpesa_django.fields
import shop.models


class Migration(migrations.Migration):
    """What makemigrations made."""

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(unique=True)),
                ("name", models.CharField(max_length=80)),
                ("description", models.TextField()),
                ("price", models.PositiveIntegerField(help_text="Whole shillings.")),
            ],
            options={
                "ordering": ("price",),
            },
        ),
        migrations.CreateModel(
            name="MpesaCallbackLog",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("callback_type", mpesa_django.fields.KeyField()),
                ("source_ip", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("raw_body", mpesa_django.fields.BodyField(blank=True, null=True)),
                ("raw_bytes", mpesa_django.fields.RawField()),
                ("headers", mpesa_django.fields.JsonField(blank=True, default=dict)),
                ("token", mpesa_django.fields.KeyField(blank=True, null=True)),
                ("correlation_id", mpesa_django.fields.KeyField(blank=True, null=True)),
                ("related_transaction_id", models.UUIDField(blank=True, null=True)),
                ("processed", models.BooleanField(default=False)),
                ("disposition", mpesa_django.fields.KeyField(blank=True, null=True)),
                ("error", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("attempts", models.PositiveBigIntegerField(default=0)),
                ("next_attempt_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("received_at", mpesa_django.fields.MomentField(default=django.utils.timezone.now)),
                ("resolved_at", mpesa_django.fields.MomentField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "M-PESA callback",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["next_attempt_at"], name="shop_mpesac_next_at_9862e3_idx"),
                    models.Index(fields=["token"], name="shop_mpesac_token_6a502e_idx"),
                    models.Index(fields=["correlation_id"], name="shop_mpesac_correla_3bc4dd_idx"),
                    models.Index(fields=["related_transaction_id"], name="shop_mpesac_related_dd94e8_idx"),
                    models.Index(
                        fields=["disposition", "resolved_at", "received_at"], name="shop_mpesac_disposi_a4ad11_idx"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "number",
                    models.CharField(
                        default=shop.models.order_number, help_text="What M-PESA shows.", max_length=12, unique=True
                    ),
                ),
                (
                    "checkout",
                    models.UUIDField(
                        help_text="Of the form that it came from: sent twice, it is one order.", unique=True
                    ),
                ),
                ("amount", models.PositiveIntegerField(help_text="Whole shillings.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("paid_at", models.DateTimeField(blank=True, null=True)),
                ("refunded_at", models.DateTimeField(blank=True, null=True)),
                ("product", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="shop.product")),
            ],
            options={
                "ordering": ("-created_at",),
            },
        ),
        migrations.CreateModel(
            name="MpesaTransaction",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("transaction_type", mpesa_django.fields.KeyField()),
                ("status", mpesa_django.fields.KeyField(default="PENDING")),
                ("account", mpesa_django.fields.KeyField(default="default")),
                ("short_code", mpesa_django.fields.KeyField(blank=True, default="")),
                ("checkout_request_id", mpesa_django.fields.KeyField(blank=True, null=True, unique=True)),
                ("merchant_request_id", mpesa_django.fields.KeyField(blank=True, null=True)),
                ("conversation_id", mpesa_django.fields.KeyField(blank=True, null=True, unique=True)),
                ("originator_conversation_id", mpesa_django.fields.KeyField(blank=True, null=True)),
                ("mpesa_receipt_number", mpesa_django.fields.KeyField(blank=True, null=True)),
                ("phone_number", mpesa_django.fields.ExactTextField(blank=True, default="")),
                ("amount", mpesa_django.fields.AmountField(default=0)),
                ("account_reference", mpesa_django.fields.ExactTextField(blank=True, default="")),
                ("transaction_desc", mpesa_django.fields.ExactTextField(blank=True, default="")),
                ("parent_id", models.UUIDField(blank=True, null=True)),
                ("idempotency_key", mpesa_django.fields.KeyField(blank=True, null=True, unique=True)),
                ("callback_token", mpesa_django.fields.KeyField(blank=True, null=True, unique=True)),
                ("result_code", mpesa_django.fields.CodeField(blank=True, null=True)),
                ("result_code_text", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("result_desc", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("reason", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("raw_callback_payload", mpesa_django.fields.BodyField(blank=True, null=True)),
                ("initiated_at", mpesa_django.fields.MomentField(default=django.utils.timezone.now)),
                ("settled_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("settled_by", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("confirmed_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("version", models.PositiveBigIntegerField(default=1)),
                ("generation", models.PositiveBigIntegerField(default=0)),
                ("announce_until", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("idempotency_locked", models.BooleanField(default=False)),
                ("next_check_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("checks", models.PositiveBigIntegerField(default=0)),
                ("conflicts", mpesa_django.fields.JsonField(blank=True, default=dict)),
                ("reserved", mpesa_django.fields.JsonField(blank=True, default=dict)),
                (
                    "order",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
                        to="shop.order",
                    ),
                ),
            ],
            options={
                "verbose_name": "M-PESA transaction",
                "abstract": False,
                "default_permissions": ("add", "change", "delete", "view", "reverse"),
                "indexes": [
                    models.Index(
                        fields=["originator_conversation_id", "initiated_at"], name="shop_mpesat_origina_cb38e7_idx"
                    ),
                    models.Index(fields=["status", "next_check_at"], name="shop_mpesat_status_8325b8_idx"),
                    models.Index(fields=["next_check_at"], name="shop_mpesat_next_ch_c5062a_idx"),
                    models.Index(fields=["announce_until"], name="shop_mpesat_announc_106341_idx"),
                    models.Index(
                        fields=["short_code", "amount", "initiated_at"], name="shop_mpesat_short_c_808d12_idx"
                    ),
                    models.Index(fields=["short_code", "confirmed_at"], name="shop_mpesat_short_c_e2983f_idx"),
                ],
                "unique_together": {("short_code", "mpesa_receipt_number")},
            },
        ),
    ]
