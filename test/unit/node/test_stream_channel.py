"""The connection of a stream: when the other side counts as gone."""

import socket
import threading

from ganeti.node.stream import channel
from ganeti.node.stream.channel import Channel, SocketWire


def test_a_receiver_that_takes_nothing_but_answers_is_not_cut_off():
    """TCP_USER_TIMEOUT would: an import script may make a file system before it reads."""
    with channel.listening("127.0.0.1") as waiting, socket.create_connection(waiting.getsockname()) as left:
        right, _ = waiting.accept()
        with right:
            channel.keep_alive(left)
            assert left.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
            assert left.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_silence_is_the_time_since_the_other_kernel_answered():
    with channel.listening("127.0.0.1") as waiting, socket.create_connection(waiting.getsockname()) as left:
        right, _ = waiting.accept()
        with right:
            sender = Channel(SocketWire(left))
            sender.send(b"word")
            Channel(SocketWire(right)).receive()
            assert sender.silence_s() < 60


def test_a_chunk_that_is_not_taken_is_told():
    left, right = socket.socketpair()
    with left, right:
        sender = Channel(SocketWire(left))
        assert sender.blocked_s() == 0
        thread = threading.Thread(target=sender.send, args=(bytes(1 << 20),))
        thread.start()
        receiver = Channel(SocketWire(right))
        while not sender.blocked_s():
            assert thread.is_alive()
        assert len(receiver.receive()) == 1 << 20
        thread.join(20)
        assert sender.blocked_s() == 0


def test_what_is_closed_or_no_tcp_is_not_silent():
    left, right = socket.socketpair()
    with right:
        assert Channel(SocketWire(left)).silence_s() == 0.0
        left.close()
        assert Channel(SocketWire(left)).silence_s() == 0.0
