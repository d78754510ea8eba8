"""Counts within a time, and what limits must be. The limits at work are in test_http_http2_floods.py."""

import pytest

from gateway.http.http2_frames import ConnectionFault, ErrorCode
from gateway.http.http2_limits import COUNTED_SECONDS, Count, Limits


def test_one_too_many_in_the_time():
    count = Count("pings", 3)
    for _ in range(3):
        count.one_more(50.0)
    with pytest.raises(ConnectionFault, match=r"^more than 3 pings in 10 s$") as caught:
        count.one_more(50.0 + COUNTED_SECONDS - 0.1)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_a_count_begins_anew_after_its_time():
    count = Count("pings", 3)
    for now in (0.0, COUNTED_SECONDS, 5 * COUNTED_SECONDS):
        for _ in range(3):
            count.one_more(now)


def test_windows_are_not_smaller_than_clients_expect_at_first():
    sizes = {"uri_bytes": 1, "list_bytes": 1, "fields": 1}
    Limits(**sizes, stream_window_bytes=65_535, connection_window_bytes=65_535)
    for window in ("stream_window_bytes", "connection_window_bytes"):
        with pytest.raises(ValueError, match="65535"):
            Limits(**sizes, **{window: 65_534})
