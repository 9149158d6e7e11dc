"""M-PESA for Flask: the adapter of mpesa_core.

It will hold what only Flask needs and nothing that decides what a payment means: the extension that hands out the
current app's gateway, the blueprint with the callback routes, the ``flask mpesa`` commands and the runners with an app
context. In this release it holds none of them yet; use :mod:`mpesa_core` directly.
"""
