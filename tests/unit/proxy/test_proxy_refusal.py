"""A refusal as bytes."""

import pytest
from support.dialogue import get, header, request, status

from gateway.errors import RequestError
from gateway.facts import ANOTHER_CERTIFICATE_COULD_HELP, NO_CERTIFICATE, STATUS_OF_REASON, Reason
from gateway.http.headers import RequestClassifier
from gateway.http.http1 import END_OF_HEAD, parse_request
from gateway.http.http1_writer import Http1Writer
from gateway.http.pages import Pages
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.proxy.refusal import closes, refusal_events

PAGES = Pages("helpdesk@example.com", None)


def head_of(data):
    end = data.find(END_OF_HEAD)
    return parse_request(data, end, RequestClassifier(), uri_bytes=8192, headers=100, header_bytes=8192)


def refuse(reason, head=None, *, is_closing=False):
    record = AccessRecord(ConnectionFields(), 0.0, "0" * 32)
    error = RequestError(reason, "the cause")
    events = refusal_events(PAGES, error, head, NO_CERTIFICATE, record, is_closing=is_closing)
    return Http1Writer(1 if head is None else head.version).write(events), record


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_status_and_a_page(reason):
    answer, record = refuse(reason, head_of(get()))
    assert status(answer) == STATUS_OF_REASON[reason] == record.status
    assert header(answer, "X-Gateway-Reason") == reason == record.reason
    assert header(answer, "X-Request-Id") == "0" * 32
    body = answer.partition(b"\r\n\r\n")[2]
    assert int(header(answer, "Content-Length")) == len(body) == record.bytes_out


def test_the_answer_to_head_has_no_body():
    answer, record = refuse(Reason.DENIED_BY_RULE, head_of(request("HEAD")))
    assert answer.endswith(b"\r\n\r\n")
    assert int(header(answer, "Content-Length")) > 0
    assert record.bytes_out == 0


def test_a_browser_gets_html_and_nobody_in_particular_plain_text():
    page, _ = refuse(Reason.DENIED_BY_RULE, head_of(get("/webmail", "Accept: text/html")))
    assert header(page, "Content-Type").startswith("text/html")
    line, _ = refuse(Reason.BAD_REQUEST)
    assert header(line, "Content-Type").startswith("text/plain")


def test_a_closing_refusal_says_so():
    assert header(refuse(Reason.NO_RULE, is_closing=True)[0], "Connection") == "close"
    assert header(refuse(Reason.NO_RULE)[0], "Connection") is None


def test_an_http_1_0_client_is_told_that_its_connection_is_kept():
    head = head_of(b"GET /secret HTTP/1.0\r\nHost: mail.example.com\r\nConnection: keep-alive\r\n\r\n")
    assert header(refuse(Reason.NO_RULE, head)[0], "Connection") == "keep-alive"
    assert header(refuse(Reason.NO_RULE, head, is_closing=True)[0], "Connection") == "close"


@pytest.mark.parametrize("reason", Reason)
def test_the_connection_ends_where_it_is_of_no_use(reason):
    is_useless = reason in ANOTHER_CERTIFICATE_COULD_HELP or reason in {
        Reason.BAD_REQUEST,
        Reason.HOST_MISMATCH,
        Reason.TOO_MANY_CONNECTIONS,
        Reason.REQUEST_TIMEOUT,
    }
    assert closes(reason, head_of(get())) is is_useless


@pytest.mark.parametrize("line", ["Content-Length: 1", "Transfer-Encoding: chunked"])
def test_an_unread_body_always_ends_the_connection(line):
    assert closes(Reason.DENIED_BY_RULE, head_of(request("POST", "/webmail", line)))
    assert not closes(Reason.DENIED_BY_RULE, head_of(request("POST", "/webmail", "Content-Length: 0")))
