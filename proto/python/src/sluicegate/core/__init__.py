"""What a producer does, without any input or output: no socket, no thread, no clock.

:class:`~sluicegate.core.machine.Machine` is told what happened and says what to do next. ``sluicegate.producer`` drives it with
threads, ``sluicegate.aio`` with asyncio.
"""
