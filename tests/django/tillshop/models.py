"""What stands for a host's models; rows are kept in memory, so that no table is needed."""

from django.db import models


class Base(models.Model):
    status = models.CharField(max_length=10)

    class Meta:
        abstract = True


class Transaction(Base):  # noqa: DJ008 - no row of it is shown
    order = models.IntegerField()
    note = models.CharField(max_length=10)
    made = models.DateTimeField(auto_now_add=True)
    shop = models.IntegerField(null=True)


class Callback(Base):  # noqa: DJ008 - likewise
    pass
