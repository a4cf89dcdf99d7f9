"""A fetcher that a test speaks for: a process that passes lines between its link and the test.

Its configuration file has the port on which the test listens. It first tells the test its own
process id. It ends at the end of its link, as a fetcher does, or when the test hangs up.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--link", type=int)
    options = parser.parse_args()
    link = socket.socket(fileno=options.link)
    test = socket.create_connection(("127.0.0.1", int(options.config.read_text())))
    test.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=pass_on, args=(test, link), daemon=True).start()
    pass_on(link, test)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(1 << 16):
        target.sendall(data)
    os._exit(0)


if __name__ == "__main__":
    main()
