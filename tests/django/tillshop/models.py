"""A host's models with fields that are required; rows are kept in memory, so that no table is needed."""

from django.db import models

from mpesa_django.models import AbstractMpesaCallbackLog, AbstractMpesaTransaction


class Transaction(AbstractMpesaTransaction):
    order = models.IntegerField()
    gift = models.CharField(max_length=10)
    made = models.DateTimeField(auto_now_add=True)
    shop = models.IntegerField(null=True)

    class Meta(AbstractMpesaTransaction.Meta):
        pass


class Callback(AbstractMpesaCallbackLog):
    class Meta(AbstractMpesaCallbackLog.Meta):
        pass


class Stranger(models.Model):  # noqa: DJ008 - no row of it is shown
    pass
