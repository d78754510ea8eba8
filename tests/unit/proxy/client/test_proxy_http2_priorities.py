"""Which of several answers goes first over HTTP/2 (RFC 9218), where the client or its windows hold them up."""

from support.dialogue import HIGH_WATER_BYTES, response

from gateway.http.http2_frames import PRIORITY_UPDATE, frame
from gateway.tls.layer import SLICE_BYTES

FIRST_WINDOW = 65_535
ROOM = 2**30


def asks(client, *fields):
    """A request whose stream has a window that is never full."""
    answer = client.asks(fields=[("priority", value) for value in fields])
    client.connection.increment_flow_control_window(ROOM, client.stream_of(answer))
    client.flush()
    return answer


def blocked(world):
    """A client whose window for the connection is used up."""
    client = world.http2_client(opens_windows=False)
    full = asks(client)
    world.accepts().says(response("200 OK", "Content-Length: 70000", body=b"x" * 70_000))
    client.reads()
    assert len(full.body) == FIRST_WINDOW
    client.resets(full)
    return client


def waiting(world, client, *priorities, size=200_000):
    """Answers that wait."""
    answers = []
    for priority in priorities:
        answers.append(asks(client, *([priority] if priority else [])))
        server = world.accepts() if world.dials else world.ends[-1]
        server.says(response(body=b"x" * size))
    return answers


def after(client, answers, window):
    """How much of each answer comes when the connection's window opens so far, in slices."""
    before = [len(answer.body) for answer in answers]
    client.connection.increment_flow_control_window(window)
    client.flush()
    return [(len(answer.body) - length) / SLICE_BYTES for answer, length in zip(answers, before, strict=True)]


def update(client, answer, value):
    payload = client.stream_of(answer).to_bytes(4, "big") + value
    client.end.says(frame(PRIORITY_UPDATE, 0, 0, payload))


def test_a_late_incremental_answer_takes_turns_at_once(world):
    client = blocked(world)
    answers = waiting(world, client, "u=3, i", "u=3, i")
    assert after(client, answers, 8 * SLICE_BYTES) == [4, 4]
    answers += waiting(world, client, "u=3, i")
    assert after(client, answers, 6 * SLICE_BYTES) == [2, 2, 2]


def test_one_that_was_alone_for_long_is_not_held_up_by_the_next(world):
    client = blocked(world)
    answers = waiting(world, client, "u=3, i", size=400_000)
    assert after(client, answers, 16 * SLICE_BYTES) == [16]
    answers += waiting(world, client, None, size=400_000)
    assert after(client, answers, 8 * SLICE_BYTES) == [4, 4]


def test_of_one_urgency_those_that_are_useless_in_part_go_first(world):
    client = blocked(world)
    answers = waiting(world, client, "u=3, i", "u=3", "u=3, i", size=2 * SLICE_BYTES)
    assert after(client, answers, SLICE_BYTES) == [1, 0, 0]  # it came first, and nothing had gone to it before
    assert after(client, answers, 2 * SLICE_BYTES) == [0, 2, 0]
    assert after(client, answers, 2 * SLICE_BYTES) == [1, 0, 1]


def test_a_client_can_change_its_mind(world):
    client = blocked(world)
    answers = waiting(world, client, "u=1", "u=5", "u=6, i")
    update(client, answers[0], b"u=7")
    update(client, answers[2], b"u=0")
    assert after(client, answers, 2 * SLICE_BYTES) == [0, 0, 2]
    update(client, answers[2], b"")  # as if nothing were said: 3, and not incremental
    assert after(client, answers, 2 * SLICE_BYTES) == [0, 0, 2]
    update(client, answers[2], b"u=6")
    assert after(client, answers, 2 * SLICE_BYTES) == [0, 2, 0]


def test_what_is_malformed_says_nothing(world):
    client = blocked(world)
    answers = waiting(world, client, "u=3", "u=1,,", "u=9", "u=2", size=SLICE_BYTES)
    assert after(client, answers, 2 * SLICE_BYTES) == [1, 0, 0, 1]
    assert after(client, answers, 2 * SLICE_BYTES) == [0, 1, 1, 0]


def test_several_fields_are_one_value(world):
    client = blocked(world)
    first = waiting(world, client, "u=2", size=SLICE_BYTES)
    second = asks(client, "u=5", "u=1")
    world.ends[-1].says(response(body=b"x" * SLICE_BYTES))
    assert after(client, [*first, second], SLICE_BYTES) == [0, 1]


def test_a_client_that_reads_slowly_gets_the_most_urgent_first(world):
    client = world.http2_client(opens_windows=False)
    client.connection.increment_flow_control_window(ROOM)
    client.flush()
    answers = [asks(client, value) for value in ("u=5", "u=1", "u=3")]
    servers = [world.accepts() for _ in answers]
    client.end.is_slow = True
    for server in servers:
        server.says(response(body=b"x" * 200_000))
    order = []
    for _ in range(40):
        before = [len(answer.body) for answer in answers]
        client.reads()
        order += [at for at, answer in enumerate(answers) if len(answer.body) > before[at]]
        client.end.reads()
        client.end.is_slow = True
    assert all(answer.is_complete for answer in answers)
    assert len(client.end.heard) < HIGH_WATER_BYTES
    later = order[order.index(1) :]
    assert later == sorted(later, key=[2, 0, 1].__getitem__), order
