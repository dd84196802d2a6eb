"""Import the module anew in one interpreter: two states, whose objects meet, and one of which goes."""

import asyncio
import gc
import sys

if "--stock" in sys.argv:
    print("ok (skipped)")
    raise SystemExit


def import_anew():
    for name in [name for name in sys.modules if name.startswith("loopmod")]:
        del sys.modules[name]
    import loopmod

    return loopmod


async def waits(future):
    return await future


async def calls_soon(loop):
    loop.call_soon(len, "")


def patch_under_both(*loops):
    plain, patched = asyncio.BaseEventLoop.call_soon, []

    def call_soon(self, *args, **options):
        patched.append(self)
        return plain(self, *args, **options)

    asyncio.BaseEventLoop.call_soon = call_soon
    try:
        for loop in loops:
            loop.run_until_complete(calls_soon(loop))
            assert loop in patched
    finally:
        asyncio.BaseEventLoop.call_soon = plain


def use_both(first, second):
    one, two = first.new_event_loop(), second.new_event_loop()
    of_one, of_two = first.Future(loop=two), second.Future(loop=one)
    two.call_soon(of_one.set_result, 1)
    assert two.run_until_complete(waits(of_one)) == 1
    one.call_soon(of_two.set_result, 2)
    assert one.run_until_complete(waits(of_two)) == 2
    assert one.run_until_complete(second.Task(asyncio.sleep(0, 3), loop=one)) == 3
    for method, future in (first.Future.set_result, second.Future()), (second.Future.set_result, first.Future()):
        try:
            method(future, 1)
        except TypeError:
            pass
    patch_under_both(one, two)
    one.close()
    two.close()
    return of_one, first.Future.__new__(first.Future), first.Task.__new__(first.Task), first.Future(loop=two)


asyncio.set_event_loop(asyncio.SelectorEventLoop())
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
for number in range(rounds):
    first, second = import_anew(), import_anew()
    kept = use_both(first, second)
    forgotten, first = first.Task, None
    gc.collect()
    repr((kept[0], kept[-1]))
    # Only the task's type is left of that module: it makes tasks.
    loop = second.new_event_loop()
    assert loop.run_until_complete(forgotten(asyncio.sleep(0, number), loop=loop)) == number
    del kept, forgotten
    gc.collect()
    assert loop.run_until_complete(asyncio.sleep(0, number)) == number
    loop.close()
print("ok")
