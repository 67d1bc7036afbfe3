"""The producers of both kinds behind one interface, so that each test is for both."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import sluicegate
import sluicegate.aio


class Loop:
    """An event loop in a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, awaitable, timeout_s=None):
        async def awaited():
            return await awaitable

        future = asyncio.run_coroutine_threadsafe(awaited(), self.loop)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    def end(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class OnLoop:
    """An asyncio producer, called from another thread. Its waiting functions wait, all others run on the loop as well."""

    def __init__(self, loop, producer):
        self._loop, self.producer = loop, producer

    def __getattr__(self, name):
        function = getattr(self.producer, name)

        def called(*arguments, **named):
            async def on_loop():
                result = function(*arguments, **named)
                return await result if asyncio.iscoroutine(result) else result

            return self._loop.run(on_loop())

        return called

    def push_all(self, readings):
        """One by one, without a way through the other thread for each."""

        async def push():
            return [await self.producer.push(*reading) for reading in readings]

        return self._loop.run(push())


class InThreads:
    def __init__(self, producer):
        self.producer = producer

    def __getattr__(self, name):
        return getattr(self.producer, name)

    def push_all(self, readings):
        return [self.producer.push(*reading) for reading in readings]


class Connector:
    """Makes producers, and stops them at the end of the test."""

    def __init__(self, kind):
        self.kind = kind
        self._loop = Loop() if kind == "asyncio" else None
        self._made = []

    def __call__(self, target, **options):
        if self._loop is None:
            producer = InThreads(sluicegate.Producer.connect(target, **options))
        else:
            loop = self._loop

            async def connect():
                return await sluicegate.aio.Producer.connect(target, **options)

            producer = OnLoop(loop, loop.run(connect()))
        self._made.append(producer)
        return producer

    def end(self):
        for producer in self._made:
            with contextlib.suppress(sluicegate.SluicegateError):
                producer.stop()
        if self._loop is not None:
            self._loop.end()
