"""Whether StreamReader and its protocol are asyncio's own, so that the C core may feed them in their place.

Asked by src/net/stream_feed.c, through loopmod/_support.py. Relies on the names that the code of those methods has.
"""

import types
from asyncio import streams
from typing import Any

# What the C core does in place of these methods, told by all the names that their code has. `_eof` stands in an
# assert, which -O leaves out.
_STREAM_METHODS = (
    ("data_received", {"_stream_reader", "feed_data"}),
    (
        "feed_data",
        {
            "_buffer",
            "_limit",
            "_paused",
            "_transport",
            "_wakeup_waiter",
            "NotImplementedError",
            "extend",
            "len",
            "pause_reading",
        },
    ),
    ("_wakeup_waiter", {"_waiter", "cancelled", "set_result"}),
    ("_stream_reader", {"_stream_reader_wr"}),
)
# A class attribute of such a name may change what an instance's attribute is.
_STREAM_FIELDS = frozenset(
    (
        "_stream_reader_wr",
        "_buffer",
        "_eof",
        "_limit",
        "_paused",
        "_transport",
        "_waiter",
        "__getattribute__",
        "__getattr__",
        "__setattr__",
        "__delattr__",
    )
)


def stock_stream_methods(protocol: type, reader: type) -> tuple[Any, ...] | None:
    """Return (function, its code, ...) of what feeds a StreamReader, or None where it is not all asyncio's own."""
    found: list[Any] = []
    for cls, (name, names) in zip((protocol, reader, reader, protocol), _STREAM_METHODS, strict=True):
        function: Any = vars(cls).get(name)
        if type(function) is property:
            function = function.fget
        code: Any = getattr(function, "__code__", None)
        if (
            type(function) is not types.FunctionType
            or function.__globals__ is not vars(streams)
            or code.co_qualname != f"{cls.__qualname__}.{name}"
            or set(code.co_names) - {"_eof"} != names
        ):
            return None
        found += function, code
    bases = (base for cls in (protocol, reader) for base in cls.__mro__[:-1])
    return tuple(found) if all(_STREAM_FIELDS.isdisjoint(vars(base)) for base in bases) else None
