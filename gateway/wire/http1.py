"""The server's half of one HTTP/1.1 connection (RFC 9112): bytes in, exchanges out, answers in the order of their requests.

Rule 1: whatever a peer sends becomes exchanges, an answer with an error, or the end of the connection; `receive` never raises.
Rule 2: a head that this connection has seen byte for byte is looked up, not parsed, and so is who answers it, where its body is there too:
  about any other the application is asked before the body is read. A request that arrives whole makes one object.
Rule 3: answers leave in one write per read, or per `respond` outside a read, however many became ready.
Bounds: `WireLimits`; requests waiting for their turn and the bytes of their bodies stop the reading, `_HEADS_MAX` heads are remembered.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from gateway.limits import KIB, WireLimits
from gateway.wire.body import Body, ChunkReader, too_large_body
from gateway.wire.coding import request_coding
from gateway.wire.exchange import HttpApplication, HttpExchange, HttpHandler, HttpRefusal
from gateway.wire.http1_exchange import CONTINUE, Http1Exchange
from gateway.wire.http1_head import CHUNKED, CLOSE, Head, HeadParser, Known, Line, Memo, Steering

_HEADS_MAX, _HEAD_MAX_BYTES = 16, 1 * KIB
_SKIP_MAX_BYTES = 64 * KIB  # a refused body up to this size is read over and the connection kept
_ENDLESS = 1 << 62  # more bytes than any peer sends within linger_timeout_s
_AT_HEAD, _AT_BODY, _AT_CHUNKS, _AT_SKIPPED, _ENDING, _CLOSED = range(6)
_NO_HEAD = Head(0, Line("", b"", b"", is_http10=False), [], Steering(0, CLOSE, b"", b"", True))
_log = logging.getLogger(__name__)


class Http1Connection:
    """One connection. The owner feeds bytes to `receive` and calls `tick` about once a second."""

    def __init__(
        self,
        limits: WireLimits,
        application: HttpApplication,
        *,
        now: Callable[[], float],
        write: Callable[[bytes], None],
        close: Callable[[], None],
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        """`pause` and `resume` steer the reading; `close` closes once everything written has left."""
        self.limits = limits
        self.draining = False
        self.writable = True  # the owner's: False while the transport takes no more, and `proceed` when it does again
        self.compress_over_bytes = limits.compress_over_bytes or 1 << 62
        self._application = application
        self._now, self._write, self._close, self._pause, self._resume = now, write, close, pause, resume
        self._state = _AT_HEAD
        self._queue: deque[Http1Exchange] = deque()  # requests in order, until their answers are written
        self._queued_bytes = 0
        self._out: list[bytes] = []
        self._reading = False  # answers given inside `receive` leave at its end
        self._held = False  # too much waits: nothing more is read
        self._rest, self._position = b"", 0  # bytes that are not used yet begin at _position
        self._arrival = self._busy_at = self._since = now()  # last read; last tick with work; start of what is incomplete
        self._parser = HeadParser(limits)
        self._heads: Memo[bytes, Known] = Memo(_HEADS_MAX)
        self._skipped_line = False
        self._nothing = Body(limits, "", 0)
        self._head, self._body, self._chunks = _NO_HEAD, self._nothing, ChunkReader(limits)
        self._handler: HttpHandler = _no_handler
        self._left = 0  # bytes of a body framed by length, or of one that is read over
        self._owes_continue = False
        self._linger_left, self._linger_until = 0, 0.0  # what is discarded before the end, so that a peer in mid-body sees the answer

    @property
    def buffered_bytes(self) -> int:
        """Bodies that wait for their answers or for their end, and bytes that are not looked at yet."""
        return self._queued_bytes + self._body.size + len(self._rest) - self._position

    # --- bytes in --------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take what arrived, in any chunking."""
        if self._state >= _ENDING:
            self._linger_left -= len(data)
            self._settle()
            return
        self._arrival = self._now()
        if self._rest:
            data = self._rest[self._position :] + data
        if self._held:
            self._rest, self._position = data, 0
            self._pause()
            return
        self._advance(data, 0)

    def _advance(self, data: bytes, position: int) -> None:
        """Work through bytes until they are used up, more are needed, or too much waits for answers."""
        self._reading = True
        fresh = not self._rest
        self._rest, self._position, before = b"", 0, -1
        try:
            while before < position < len(data):
                before = position
                position = self._take_head(data, position) if self._state == _AT_HEAD else self._take_body(data, position)
        except HttpRefusal as refusal:
            self._end_with(refusal)
        self._reading = False
        if self._state >= _ENDING:
            self._linger_left -= len(data) - position
        elif position < len(data):
            self._rest, self._position = data, position
            if fresh or position:  # otherwise these are more bytes of the head that was cut before
                self._since = self._arrival
        if self._state != _AT_HEAD:
            self._settle()
        elif self._out:
            self._flush()

    def _take_head(self, data: bytes, position: int) -> int:
        if (self._queue or self._out or not self.writable) and self._is_full():
            self._held = True
            self._pause()
            return position
        end = data.find(b"\r\n\r\n", position, position + self._parser.bound) + 4
        known = self._heads.known.get(data[position:end])
        if known is None:
            head = self._parse(data, position)
            if head is None:
                return position + self._skip_line(data, position)
            end = position + head.size
        else:
            head = known.head
            stop = end + head.steering.length
            if known.handler is not None and stop <= len(data):
                self._dispatch(head, known.handler, data[end:stop])
                return stop
        try:
            handler = self._application.open_http("GET" if head.line.method == "HEAD" else head.line.method, head.line.target, head.headers)
            if not head.steering.is_plain:
                self._check_body(head)
        except Exception as error:
            self._turn_away(head, error)
            return end
        stop = end + head.steering.length
        if stop > len(data) or not head.steering.is_plain:
            self._begin_body(head, handler)
            return end
        if known is not None:
            known.handler = handler
        self._dispatch(head, handler, data[end:stop])
        return stop

    def _is_full(self) -> bool:
        if len(self._out) >= self.limits.max_pipelined:
            self._flush()
        return not self.writable or len(self._queue) >= self.limits.max_pipelined or self._queued_bytes > self.limits.max_buffered_bytes

    def _parse(self, data: bytes, position: int) -> Head | None:
        if data[position] in b"\r\n":
            return None
        head = self._parser.read(data, position)
        if head is None:
            return None
        if head.size <= _HEAD_MAX_BYTES:
            self._heads.put(data[position : position + head.size], Known(head))
        return head

    def _skip_line(self, data: bytes, position: int) -> int:
        """RFC 9112 §2.2: one empty line before a request is passed over, for clients that add one to a body."""
        line = data[position : position + 2]
        if line == b"\r\n" and not self._skipped_line:
            self._skipped_line = True
            return 2
        if line[:1] in b"\r\n" and line != b"\r":
            raise HttpRefusal(400, "malformed request line")
        return 0

    def _check_body(self, head: Head) -> None:
        """Whether a body that is out of the ordinary will be taken. Raises HttpRefusal 413, 415 and 417."""
        if head.steering.expectation not in (b"", b"100-continue"):
            raise HttpRefusal(417, "the only expectation is 100-continue")
        request_coding(head.steering.content_encoding)
        if head.steering.length > self.limits.max_body_bytes:
            raise too_large_body(self.limits.max_body_bytes)

    def _begin_body(self, head: Head, handler: HttpHandler) -> None:
        """The body is not here yet, or needs more than a slice."""
        if not head.steering.length:
            self._dispatch(head, handler, b"")
            return
        self._head, self._handler = head, handler
        self._body = Body(self.limits, request_coding(head.steering.content_encoding), head.steering.length)
        self._since = self._arrival
        if head.steering.length == CHUNKED:
            self._state, self._chunks = _AT_CHUNKS, ChunkReader(self.limits)
        else:
            self._state, self._left = _AT_BODY, head.steering.length
        self._owes_continue = head.steering.expectation != b""

    def _take_body(self, data: bytes, position: int) -> int:
        """A piece of a body, or of what follows the last request. Returns the position after it."""
        state = self._state
        if state >= _ENDING:
            return position
        if state == _AT_CHUNKS:
            position = self._chunks.feed(data, position, self._body)
            if self._chunks.done:
                self._finish_body()
            return position
        end = min(len(data), position + self._left)
        if state == _AT_BODY:
            self._body.add(data[position:end])
        self._left -= end - position
        if not self._left:
            if state == _AT_BODY:
                self._finish_body()
            else:
                self._state = _AT_HEAD
        return end

    def _finish_body(self) -> None:
        body = self._body.finish()
        head, handler = self._head, self._handler
        self._let_go()
        self._state = _AT_HEAD
        self._dispatch(head, handler, body)

    def _let_go(self) -> None:
        """Forget the request whose body was being read."""
        self._head, self._handler, self._body = _NO_HEAD, _no_handler, self._nothing
        self._owes_continue = False

    def _dispatch(self, head: Head, handler: HttpHandler, body: bytes) -> None:
        exchange = Http1Exchange(self, head, body, self._arrival)
        self._enqueue(exchange)
        try:
            handler(exchange)
        except HttpRefusal as refusal:
            exchange.refuse(refusal)
        except Exception:
            _log.exception("a request handler raised")
            exchange.refuse(HttpRefusal(500, "internal error"))

    def _enqueue(self, exchange: Http1Exchange) -> None:
        self._skipped_line = False
        self._queue.append(exchange)
        self._queued_bytes += exchange.size
        if exchange.persistence == CLOSE or self.draining:
            exchange.persistence = CLOSE
            self._state = _ENDING

    # --- refusals --------------------------------------------------------------------------------------------------------------

    def _turn_away(self, head: Head, error: Exception) -> None:
        """Answer a request whose body is not read: a small one is read over, a large one ends the connection."""
        exchange = Http1Exchange(self, head, b"", self._arrival)
        self._enqueue(exchange)
        length = head.steering.length
        if self._state != _ENDING and 0 < length <= _SKIP_MAX_BYTES and not head.steering.expectation:
            self._state, self._left, self._since = _AT_SKIPPED, length, self._arrival
        elif length:
            exchange.persistence = CLOSE
            self._state = _ENDING
            self._linger_left = _ENDLESS if length == CHUNKED else length
        if not isinstance(error, HttpRefusal):
            _log.error("the application could not route a request", exc_info=error)
            error = HttpRefusal(500, "internal error")
        exchange.refuse(error)

    def _end_with(self, refusal: HttpRefusal) -> None:
        """Answer what the stream cannot be read past, after the answers before it."""
        if self._state == _AT_BODY:
            self._linger_left = self._left
        elif self._state == _AT_CHUNKS and refusal.status == 413:
            self._linger_left = _ENDLESS
        exchange = Http1Exchange(self, self._head, b"", self._arrival)
        self._let_go()
        exchange.persistence = CLOSE
        self._enqueue(exchange)
        exchange.refuse(refusal)

    # --- answers ---------------------------------------------------------------------------------------------------------------

    def release(self, exchange: Http1Exchange) -> None:
        """An exchange has its answer: write it, and those behind it that waited for it, if its turn has come."""
        queue = self._queue
        if queue[0] is not exchange:
            return
        while queue and (answer := queue[0].answer) is not None:
            self._queued_bytes -= queue.popleft().size
            self._out.append(answer)
        if self._reading:
            return
        if self._held:
            self.proceed()
        else:
            self._settle()

    def proceed(self) -> None:
        """Go on with what was held, once half of what waited is answered and the transport takes more."""
        limits = self.limits
        few = len(self._queue) <= limits.max_pipelined // 2 and self._queued_bytes <= limits.max_buffered_bytes // 2
        if not (self._held and few and self.writable) or self._state >= _ENDING:
            self._settle()
            return
        rest, position, self._held = self._rest, self._position, False
        self._rest = b""
        self._arrival = self._now()
        self._resume()
        self._advance(rest, position)

    def _settle(self) -> None:
        """Write what is ready, and close where that was the last of it."""
        if self._owes_continue and not self._queue:
            self._owes_continue = False
            self._out.append(CONTINUE)
        if self._out:
            self._flush()
        if self._state != _ENDING or self._queue:
            return
        if self._linger_left <= 0:
            self._end()
        elif not self._linger_until:
            self._linger_until = self._now() + self.limits.linger_timeout_s

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._write(out[0] if len(out) == 1 else b"".join(out))

    # --- ends ------------------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Apply every time limit. Called about once a second, so a limit is kept to within a second."""
        limits = self.limits
        if self._queue:
            self._busy_at = now
        if self._state == _ENDING:
            if not self._queue and now > self._linger_until:
                self._end()
        elif self._held or self._state == _CLOSED:
            return
        elif self._state != _AT_HEAD:
            if now - self._since > limits.body_timeout_s + self._body.wire_size / limits.min_body_rate:
                self._time_out("the request body did not arrive in time")
        elif self._rest:
            if now - self._since > limits.header_timeout_s:
                self._time_out("the request head did not arrive in time")
        elif now - max(self._arrival, self._busy_at) > limits.idle_timeout_s:
            self._end()

    def _time_out(self, message: str) -> None:
        if self._state == _AT_SKIPPED:  # answered already
            self._state = _ENDING
        else:
            self._end_with(HttpRefusal(408, message))
        self._linger_left = 0
        self._settle()

    def drain(self) -> None:
        """Answer what is in flight and a request that has begun to arrive, then close."""
        self.draining = True
        at_rest = self._state == _AT_HEAD and (self._held or not self._rest)
        if not at_rest and self._state != _AT_SKIPPED:
            return
        if self._state == _AT_SKIPPED:
            self._linger_left = self._left
        self._state, self._rest, self._position = _ENDING, b"", 0
        if self._queue:
            self._queue[-1].persistence = CLOSE
        self._settle()

    def eof(self) -> bool:
        """The peer sends no more. That is how a caller that gave up looks, so its work is cancelled, unless it had announced to close.

        Returns whether an answer is still owed.
        """
        if self._state == _ENDING and self._queue:
            self._linger_left = 0
            return True
        if self._state != _CLOSED:
            self._end()
        return False

    def connection_lost(self) -> None:
        """The transport is gone."""
        self._state = _CLOSED
        self._let_go()
        self._heads.known.clear()
        self._rest, self._position, self._queued_bytes = b"", 0, 0
        queue, self._queue = self._queue, deque()
        for exchange in queue:
            if exchange.answer is None:
                exchange.cancel()

    def _end(self) -> None:
        self.connection_lost()
        self._close()


def _no_handler(_: HttpExchange) -> None:
    """Stands where no request is being read."""
    raise AssertionError
