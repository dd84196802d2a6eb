"""What fuzz_driver.c imports: the target that the environment names, for one input after the other.

An input that breaks a rule ends the process by abort(), which libFuzzer takes for a crash and keeps the input.
"""

import logging
import os
import sys
import traceback
import warnings

sys.path[:0] = [os.environ["FUZZ_TREE"], os.environ["FUZZ_ROOM"]]

import fuzz_targets  # noqa: E402

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
target = fuzz_targets.load(os.environ["FUZZ_TARGET"])
factory = fuzz_targets.factory_of("loopmod")


def one_input(data):
    try:
        target(data, factory)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        sys.__stderr__.flush()
        os.abort()
