"""M-PESA for Django: the adapter of mpesa_core.

It will hold what only Django needs and nothing that decides what a payment means: abstract models for transactions and
the callback log, the repository on the ORM, callback views and URLs, django.dispatch signals, task runners, system
checks, the admin and the management commands. In this release it holds none of them yet; use :mod:`mpesa_core`
directly.
"""
