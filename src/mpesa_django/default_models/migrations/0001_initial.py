"""The four tables."""

import uuid
from typing import Any, ClassVar

import django.utils.timezone
from django.db import migrations, models

import mpesa_django.fields


class Migration(migrations.Migration):
    """Makes them."""

    initial = True

    dependencies: ClassVar[Any] = []

    operations: ClassVar[Any] = [
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
                    models.Index(fields=["next_attempt_at"], name="default_mod_next_at_625ce5_idx"),
                    models.Index(fields=["token"], name="default_mod_token_cd4f41_idx"),
                    models.Index(fields=["correlation_id"], name="default_mod_correla_1c76d3_idx"),
                    models.Index(fields=["related_transaction_id"], name="default_mod_related_956217_idx"),
                    models.Index(
                        fields=["disposition", "resolved_at", "received_at"], name="default_mod_disposi_67c1c5_idx"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MpesaInvoice",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("account", mpesa_django.fields.KeyField(default="default")),
                ("short_code", mpesa_django.fields.KeyField()),
                ("external_reference", mpesa_django.fields.KeyField()),
                ("account_reference", mpesa_django.fields.KeyField()),
                ("invoice_name", mpesa_django.fields.ExactTextField(blank=True, default="")),
                ("full_name", mpesa_django.fields.ExactTextField(blank=True, default="")),
                ("phone_number", mpesa_django.fields.ExactTextField(blank=True, default="")),
                ("period", mpesa_django.fields.ExactTextField(blank=True, default="")),
                ("amount", mpesa_django.fields.AmountField()),
                ("due_at", mpesa_django.fields.MomentField()),
                ("status", mpesa_django.fields.KeyField(default="pending")),
                ("result_desc", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("payments", mpesa_django.fields.JsonField(blank=True, default=dict)),
                ("unacknowledged", mpesa_django.fields.JsonField(blank=True, default=dict)),
                ("created_at", mpesa_django.fields.MomentField(default=django.utils.timezone.now)),
                ("sent_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("paid_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("voided_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("version", models.PositiveBigIntegerField(default=1)),
                ("generation", models.PositiveBigIntegerField(default=0)),
                ("unannounced", mpesa_django.fields.JsonField(blank=True, default=dict)),
                ("announce_until", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("next_check_at", mpesa_django.fields.MomentField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "M-PESA invoice",
                "abstract": False,
                "indexes": [
                    models.Index(
                        fields=["short_code", "account_reference", "created_at"], name="default_mod_short_c_e966aa_idx"
                    ),
                    models.Index(fields=["announce_until"], name="default_mod_announc_a3ef9a_idx"),
                    models.Index(fields=["next_check_at"], name="default_mod_next_ch_9dcaf9_idx"),
                ],
                "unique_together": {("short_code", "external_reference")},
            },
        ),
        migrations.CreateModel(
            name="MpesaSubscription",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("account", mpesa_django.fields.KeyField(default="default")),
                ("short_code", mpesa_django.fields.KeyField()),
                ("name", mpesa_django.fields.ExactTextField()),
                ("account_reference", mpesa_django.fields.KeyField()),
                ("transaction_desc", mpesa_django.fields.ExactTextField(blank=True, default="")),
                ("phone_number", mpesa_django.fields.ExactTextField()),
                ("amount", mpesa_django.fields.AmountField()),
                ("start_on", models.DateField()),
                ("end_on", models.DateField()),
                ("frequency", mpesa_django.fields.KeyField()),
                ("edition", mpesa_django.fields.KeyField()),
                ("status", mpesa_django.fields.KeyField(default="pending")),
                ("idempotency_key", mpesa_django.fields.KeyField(blank=True, null=True, unique=True)),
                ("callback_token", mpesa_django.fields.KeyField(blank=True, null=True, unique=True)),
                ("request_id", mpesa_django.fields.KeyField(blank=True, null=True, unique=True)),
                ("response_ref_id", mpesa_django.fields.KeyField(blank=True, null=True)),
                ("standing_order_id", mpesa_django.fields.KeyField(blank=True, null=True)),
                ("result_code_text", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("result_desc", mpesa_django.fields.ExactTextField(blank=True, null=True)),
                ("created_at", mpesa_django.fields.MomentField(default=django.utils.timezone.now)),
                ("settled_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("stopped_at", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("conflicts", mpesa_django.fields.JsonField(blank=True, default=dict)),
                ("version", models.PositiveBigIntegerField(default=1)),
                ("generation", models.PositiveBigIntegerField(default=0)),
                ("unannounced", mpesa_django.fields.JsonField(blank=True, default=dict)),
                ("announce_until", mpesa_django.fields.MomentField(blank=True, null=True)),
                ("next_check_at", mpesa_django.fields.MomentField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "M-PESA subscription",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["response_ref_id", "created_at"], name="default_mod_respons_86b608_idx"),
                    models.Index(
                        fields=["short_code", "account_reference", "amount"], name="default_mod_short_c_fc78e5_idx"
                    ),
                    models.Index(fields=["announce_until"], name="default_mod_announc_04f6f0_idx"),
                    models.Index(fields=["next_check_at"], name="default_mod_next_ch_ca9828_idx"),
                ],
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
            ],
            options={
                "verbose_name": "M-PESA transaction",
                "abstract": False,
                "default_permissions": ("add", "change", "delete", "view", "reverse"),
                "indexes": [
                    models.Index(
                        fields=["originator_conversation_id", "initiated_at"], name="default_mod_origina_9b63cb_idx"
                    ),
                    models.Index(fields=["status", "next_check_at"], name="default_mod_status_b52e19_idx"),
                    models.Index(fields=["next_check_at"], name="default_mod_next_ch_169216_idx"),
                    models.Index(fields=["announce_until"], name="default_mod_announc_e3a5b3_idx"),
                    models.Index(
                        fields=["short_code", "amount", "initiated_at"], name="default_mod_short_c_d1ed9b_idx"
                    ),
                    models.Index(fields=["short_code", "confirmed_at"], name="default_mod_short_c_a23494_idx"),
                ],
                "unique_together": {("short_code", "mpesa_receipt_number")},
            },
        ),
    ]
