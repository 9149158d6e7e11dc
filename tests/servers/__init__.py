"""Real servers that the tests start themselves, on free ports of this machine, and throw away afterwards.

A fixture whose server is not installed makes its tests skip and says what to install.
"""
