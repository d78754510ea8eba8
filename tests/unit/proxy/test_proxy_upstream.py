"""One connection to an upstream server, where no exchange holds it or it is just being lost."""

from support.dialogue import get, response


def idle(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response())
    return server


def test_an_answer_to_nothing_ends_the_connection(world):
    server = idle(world)
    server.says(response(body=b"poison"))
    assert server.is_lost
    assert world.busy() == [(0, 0)]


def test_a_connection_that_closes_while_idle_is_forgotten(world):
    server = idle(world)
    server.closes()
    assert world.busy() == [(0, 0)]


def test_a_connection_that_is_closing_is_not_taken(world):
    server = idle(world)
    server.close()  # not lost yet
    client = world.client()
    client.says(get())
    world.accepts().says(response(body=b"fresh"))
    assert client.hears().endswith(b"fresh")
    assert world.busy() == [(0, 1)]


def test_an_answer_whose_connection_closes_with_it_is_whole_and_the_connection_gone(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server._is_closing = True  # the socket failed to be written to, and says so later
    server.heard.clear()
    server.protocol.data_received(response(body=b"ok"))
    assert client.hears().endswith(b"ok")
    assert world.busy() == [(0, 0)]
    server.goes()
    assert world.busy() == [(0, 0)]


def test_a_connection_that_is_lost_at_its_release_counts_once(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    protocol = server.protocol
    protocol._is_lost = True
    server.says(response())
    assert world.busy() == [(1, 0)]  # the loss itself will count it down
    protocol.state.busy -= 1


def test_pauses_of_a_connection_that_nobody_holds_stop_nobody(world):
    protocol = idle(world).protocol
    protocol.pause_writing()
    assert protocol.is_write_paused
    protocol.resume_writing()
    assert not protocol.is_write_paused


def test_a_connection_says_what_it_does(world):
    assert repr(idle(world).protocol) == "<UpstreamConnection http://10.0.0.5:8080 idle after 1>"
