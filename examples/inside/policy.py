"""An application with an event loop policy of its own, made from asyncio's default one."""

import asyncio
import warnings


async def main():
    return type(asyncio.get_running_loop()).__module__


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)

        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                loop = super().new_event_loop()
                loop.slow_callback_duration = 0.5
                return loop

        asyncio.set_event_loop_policy(Policy())
    print(asyncio.run(main()))
