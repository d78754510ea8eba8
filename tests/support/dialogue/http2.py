"""A client's end of a connection over HTTP/2: the `h2` library, which refuses everything that is against RFC 9113."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState, H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from support.dialogue.messages import HOST

if TYPE_CHECKING:
    from support.dialogue.ends import ClientEnd

Fields = list[tuple[str, str]]


class Answer:
    """What has come of one answer."""

    def __init__(self) -> None:
        self.interim: list[int] = []
        self.status: int | None = None
        self.fields: dict[str, str] = {}
        self.body = b""
        self.trailers: Fields = []
        self.is_complete = False
        self.reset: int | None = None  # the error code


class Http2Client:
    """A client that opens its windows as it reads, unless it is told not to."""

    def __init__(self, end: ClientEnd, *, opens_windows: bool = True) -> None:
        self.end = end
        self.opens_windows = opens_windows
        self.connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        # After a GOAWAY the library would refuse every frame; RFC 9113 6.8 lets the streams under way be finished.
        machine = self.connection.state_machine
        goaway = (ConnectionState.CLIENT_OPEN, ConnectionInputs.RECV_GOAWAY)
        machine._transitions = {**machine._transitions, goaway: (None, ConnectionState.CLIENT_OPEN)}
        self.answers: dict[int, Answer] = {}
        self.events: list[Event] = []
        self.goaway: tuple[int, int, bytes] | None = None  # last stream, error code, cause
        self.connection.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what there is to send, and read what comes."""
        while data := self.connection.data_to_send():
            self.end.says(data)
            self.reads()
        self.reads()

    def reads(self) -> None:
        """Read what has come."""
        while data := self.end.hears():
            for event in self.connection.receive_data(data):
                self.events.append(event)
                self._note(event)
            if waiting := self.connection.data_to_send():
                self.end.says(waiting)

    def _note(self, event: Event) -> None:
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        match event:
            case ConnectionTerminated():
                self.goaway = (event.last_stream_id or 0, int(event.error_code or 0), event.additional_data or b"")
            case _ if answer is None:
                pass
            case InformationalResponseReceived():
                answer.interim.append(int(dict(event.headers)[":status"]))
            case ResponseReceived():
                fields: dict[str, str] = dict(event.headers)
                answer.status = int(fields.pop(":status"))
                answer.fields = fields
            case DataReceived():
                answer.body += event.data or b""
                if self.opens_windows and event.flow_controlled_length:
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case TrailersReceived():
                answer.trailers = list(event.headers)
            case StreamEnded():
                answer.is_complete = True
            case StreamReset():
                answer.reset = int(event.error_code or 0)

    def asks(self, path: str = "/webmail", method: str = "GET", body: bytes | None = None, **options: Any) -> Answer:
        """A request; `fields`, `host`; `ends`: False if its body goes on; `body`: None if it has none."""
        stream_id = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", options.get("host", HOST)), (":path", path)]
        ends = options.get("ends", True)
        self.connection.send_headers(stream_id, [*pseudo, *options.get("fields", ())], end_stream=body is None and ends)
        self.answers[stream_id] = answer = Answer()
        if body is not None:
            self.connection.send_data(stream_id, body, end_stream=ends)
        self.flush()
        return answer

    def stream_of(self, answer: Answer) -> int:
        """The stream of a request."""
        return next(stream_id for stream_id, each in self.answers.items() if each is answer)

    def sends(self, answer: Answer, body: bytes, *, ends: bool = False) -> None:
        """More of a request's body."""
        self.connection.send_data(self.stream_of(answer), body, end_stream=ends)
        self.flush()

    def ends(self, answer: Answer, trailers: Fields | None = None) -> None:
        """The end of a request."""
        if trailers:
            self.connection.send_headers(self.stream_of(answer), trailers, end_stream=True)
        else:
            self.connection.end_stream(self.stream_of(answer))
        self.flush()

    def resets(self, answer: Answer) -> None:
        """It wants no answer any more."""
        self.connection.reset_stream(self.stream_of(answer), error_code=8)
        self.flush()
