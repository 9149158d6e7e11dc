"""A repository with coroutines runs the contract behind a small bridge, as the documentation says."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mpesa_core.repository import MemoryRepository
from mpesa_core.testing import RepositoryContract


class AsyncMemoryRepository:
    """A store whose operations are coroutines that let others run in between."""

    def __init__(self):
        self.inner = MemoryRepository()

    def __getattr__(self, name):
        async def operation(*arguments, **options):
            await asyncio.sleep(0)
            return getattr(self.inner, name)(*arguments, **options)

        return operation


class Bridge:
    """Hands each call to an event loop in a thread of its own, and waits for its answer."""

    def __init__(self, make):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.repository = make()

    def __getattr__(self, name):
        def operation(*arguments, **options):
            coroutine = getattr(self.repository, name)(*arguments, **options)
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

        return operation

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()


class TestAsyncRepository(RepositoryContract):
    """The store in memory, with coroutines."""

    host_fields = {"order": "A-17", "lines": [1, {"sku": "x"}]}
    test_what_is_done_survives_the_handle = None  # nothing does: it lives and dies with its handle

    @pytest.fixture
    def repository(self):
        """A fresh store, bridged."""
        bridge = Bridge(AsyncMemoryRepository)
        yield bridge
        bridge.close()
