"""A client of the Debug Adapter Protocol, as far as a test of a debugger needs one: requests, events, messages."""

import contextlib
import json
import socket
import time


@contextlib.contextmanager
def connect(port, process, timeout=30):
    """A client of the adapter that a process starts on this port, once it listens."""
    until = time.monotonic() + timeout
    while True:
        try:
            client = Client(port, timeout)
            break
        except ConnectionRefusedError:
            assert process.poll() is None, "it did not wait for a client"
            assert time.monotonic() < until, "it does not listen"
            time.sleep(0.02)
    with client:
        yield client


class Client:
    def __init__(self, port, timeout):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.stream = self.socket.makefile("rb")
        self.count = 0
        self.seen = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def send(self, command, **arguments):
        """Send a request and return its number."""
        self.count += 1
        message = {"seq": self.count, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self.count

    def receive(self):
        length = 0
        while line := self.stream.readline().strip():
            name, _, value = line.partition(b":")
            if name == b"Content-Length":
                length = int(value)
        if not length:
            raise ConnectionError("the debugger went away")
        return json.loads(self.stream.read(length))

    def wait(self, matches):
        """Return the first message, of those kept and those that come, that `matches` takes."""
        for message in self.seen:
            if matches(message):
                self.seen.remove(message)
                return message
        while not matches(message := self.receive()):
            self.seen.append(message)
        return message

    def event(self, name):
        """Wait for an event and return its body."""
        return self.wait(lambda message: message.get("event") == name).get("body", {})

    def answer(self, number):
        """Wait for the answer to a request and return its body."""
        message = self.wait(lambda message: message.get("request_seq") == number)
        assert message["success"], message
        return message.get("body", {})

    def call(self, command, **arguments):
        return self.answer(self.send(command, **arguments))
