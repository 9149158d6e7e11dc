"""M-PESA for Django: the adapter of mpesa_core.

It holds what only Django needs and nothing that decides what a payment means: abstract models that a host subclasses
(:mod:`mpesa_django.models`; :mod:`mpesa_django.default_models` is for those who want none of their own) and the
repository on the ORM (:mod:`mpesa_django.repository`).
"""
