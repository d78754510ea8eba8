"""The metrics, read back by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families
from support.admin_state import a_state, authority, ending, lockout, registry, server, trouble, worker

from gateway.admin.metrics import render
from gateway.facts import Reason


def samples(state):
    """{(name, labels): value}; a repeated series, which Prometheus refuses, is a failure."""
    found = {}
    for family in text_string_to_metric_families(render(state).decode()):
        assert family.documentation
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(state, name, /, **labels):
    return samples(state)[name, tuple(sorted(labels.items()))]


def test_every_series_of_a_healthy_gateway():
    site, upstream = {"site": "mail.example.com"}, {"upstream": "mail", "server": "https://10.0.0.5:443"}
    expected = [
        ("gateway_info", {"version": "1.2.3"}, 1),
        ("gateway_start_time_seconds", {}, 1795514400),
        ("gateway_serving", {}, 1),
        ("gateway_workers", {"state": "wanted"}, 2),
        ("gateway_workers", {"state": "running"}, 2),
        ("gateway_workers", {"state": "answering"}, 2),
        ("gateway_worker_restarts_total", {}, 0),
        ("gateway_helper_running", {"name": "publisher"}, 1),
        ("gateway_helper_restarts_total", {"name": "publisher"}, 1),
        ("gateway_connections", {}, 6),
        ("gateway_tasks", {}, 2),
        ("gateway_open_files", {}, 60),
        ("gateway_open_files_used_ratio", {}, 30 / 1024),
        ("gateway_requests_total", {"status": "2xx", "reason": ""}, 90),
        ("gateway_requests_total", {"status": "3xx", "reason": ""}, 9),
        ("gateway_requests_total", {"status": "4xx", "reason": "certificate_missing"}, 5),
        ("gateway_requests_total", {"status": "none", "reason": ""}, 1),
        ("gateway_handshakes_total", {"result": "full"}, 10),
        ("gateway_handshakes_total", {"result": "resumed"}, 4),
        ("gateway_handshakes_total", {"result": "failed"}, 2),
        ("gateway_body_bytes_total", {"direction": "received"}, 1000),
        ("gateway_body_bytes_total", {"direction": "sent"}, 2_000_000),
        ("gateway_access_log_dropped_lines_total", {}, 0),
        ("gateway_upstream_connections", {**upstream, "state": "busy"}, 1),
        ("gateway_upstream_connections", {**upstream, "state": "idle"}, 2),
        ("gateway_upstream_up", upstream, 1),
        (
            "gateway_expiry_timestamp_seconds",
            {**site, "kind": "certificate", "name": "CN=mail.example.com"},
            1827054000,
        ),
        ("gateway_expiry_timestamp_seconds", {**site, "kind": "client_ca", "name": "CN=Root"}, 1827054000),
        ("gateway_expiry_timestamp_seconds", {**site, "kind": "crl", "name": "/etc/gateway/root.crl"}, 1827054000),
        ("gateway_lockouts", {}, 1),
        ("gateway_warnings", {}, 0),
        ("gateway_outages", {}, 0),
        ("gateway_reloads_total", {"result": "succeeded"}, 4),
        ("gateway_reloads_total", {"result": "refused"}, 0),
        ("gateway_revocation_lists_generation", {}, 3),
        ("gateway_revocation_lists_behind", {}, 0),
        ("gateway_revocation_lists_behind_seconds", {}, 0),
        ("gateway_config_loaded_timestamp_seconds", {}, 1795514400),
        ("gateway_config_current", {}, 1),
    ]
    found = samples(a_state(lockouts=[lockout("192.0.2.1")]))
    for name, labels, number in expected:
        assert found.pop((name, tuple(sorted(labels.items())))) == number
    assert {name for name, _ in found} == {"gateway_requests_total"}
    assert set(found.values()) == {0}


def test_every_reason_has_its_series_from_the_start():
    """Prometheus sees no increase in a series that begins at 1."""
    found = samples(a_state(answers=[]))
    labels = [dict(labels) for name, labels in found if name == "gateway_requests_total"]
    assert {each["reason"] for each in labels} == {"", *Reason}
    assert {each["status"] for each in labels if not each["reason"]} == {"2xx", "3xx", "4xx", "5xx", "none"}
    assert {each["status"] for each in labels if each["reason"] == "upstream_timeout"} == {"5xx"}


def test_statuses_of_one_class_are_one_series():
    answers = [{"status": status, "reason": None, "count": 1} for status in (200, 204, 207, 999)]
    assert value(a_state(answers=answers), "gateway_requests_total", status="2xx", reason="") == 3
    assert value(a_state(answers=answers), "gateway_requests_total", status="other", reason="") == 1


def test_a_worker_that_hangs_runs_and_does_not_answer():
    state = a_state(workers=[worker(101), worker(102, is_answering=False)])
    assert value(state, "gateway_workers", state="running") == 2
    assert value(state, "gateway_workers", state="answering") == 1


def test_of_two_lists_in_one_file_the_earlier_end_counts():
    state = a_state()
    state["sites"][0]["crls"] = [
        ending("both.crl", ends="2027-01-02T00:00:00.000Z"),
        ending("both.crl", ends="2027-01-01T00:00:00.000Z"),
        ending("both.crl", ends="2027-01-03T00:00:00.000Z"),
    ]
    labels = {"site": "mail.example.com", "kind": "crl", "name": "both.crl"}
    assert value(state, "gateway_expiry_timestamp_seconds", **labels) == 1798761600


def test_a_server_is_up_for_the_share_of_workers_that_would_ask_it():
    name = {"upstream": "mail", "server": "https://10.0.0.5:443"}
    for up, known, share in ((2, 2, 1), (1, 2, 0.5), (0, 2, 0), (0, 0, 0)):
        state = a_state(upstreams={"mail": [server(up_in=up, workers=known)]})
        assert value(state, "gateway_upstream_up", **name) == share


def test_workers_without_the_newest_lists_show():
    workers = [worker(1), worker(2, lists_generation=2, lists_behind_seconds=1.5), worker(3, lists_generation=1)]
    for state, late, seconds in ((a_state(), 0, 0), (a_state(workers=workers), 2, 1.5)):
        assert value(state, "gateway_revocation_lists_generation") == 3
        assert value(state, "gateway_revocation_lists_behind") == late
        assert value(state, "gateway_revocation_lists_behind_seconds") == seconds


def test_a_refused_reload_shows():
    reload = {**a_state()["reload"], "refused": 1, "refused_at": "2026-11-24T10:30:00.000Z", "error": "line 3"}
    state = a_state(reload=reload, warnings=["one", "two"], outages=["three"], is_serving=False)
    assert value(state, "gateway_config_current") == 0
    assert value(state, "gateway_reloads_total", result="refused") == 1
    assert value(state, "gateway_warnings") == 2
    assert value(state, "gateway_outages") == 1
    assert value(state, "gateway_serving") == 0


def test_names_with_quotes_and_newlines_break_no_line():
    state = a_state(upstreams={'a"b\\c\nd': [server()]})
    labels = {"upstream": 'a"b\\c\nd', "server": "https://10.0.0.5:443"}
    assert value(state, "gateway_upstream_up", **labels) == 1


def test_a_kept_registry_has_every_state_of_every_authority():
    kept = registry(
        authorities=[authority(), authority("new", list_ends=None, list_seconds_left=None)],
        ending=[{"within_seconds": 604_800.0, "count": 5}],
        problems=["the authority 'old' was revoked"],
        troubles=[trouble()],
        mails={"sent": 9, "refused": 2},
        notifications={"is_up": False, "since": "2026-11-24T10:59:30.000Z", "cause": "the server is away"},
    )
    found = a_state(registry=kept)
    for status, count in (("live", 1234), ("expired", 3), ("revoked", 0), ("held", 0), ("superseded", 0)):
        assert value(found, "gateway_pki_certificates", authority="corp", state=status) == count
    assert value(found, "gateway_pki_authority_expiry_timestamp_seconds", authority="new") == 1827054000
    assert value(found, "gateway_pki_list_next_update_timestamp_seconds", authority="corp") == 1798110000
    assert ("gateway_pki_list_next_update_timestamp_seconds", (("authority", "new"),)) not in samples(found)
    assert value(found, "gateway_pki_expiring", within="7d") == 5
    assert (value(found, "gateway_pki_problems"), value(found, "gateway_pki_troubles")) == (1, 1)
    assert value(found, "gateway_pki_looked_timestamp_seconds") == 1795517970
    assert value(found, "gateway_pki_mails_total", result="refused") == 2
    assert value(found, "gateway_pki_notifications_up") == 0
    assert ("gateway_pki_notifications_up", ()) not in samples(a_state(registry=registry()))
    assert value(a_state(registry=registry(looked=None)), "gateway_pki_looked_timestamp_seconds") == 0


def test_without_a_registry_there_are_no_series_of_one():
    assert not [name for name, _ in samples(a_state()) if "pki" in name]


def test_what_rules_in_observation_would_have_refused():
    """From zero on for each rule that is in observation, and what one has counted that no longer is."""
    day = {"refuses_from": "2027-03-01T00:00:00.000Z", "outlook": "", "count": 3}
    observed = [
        {"rule": "new", "reason": "certificate_missing", "count": 3},
        {"rule": "old", "reason": "user_mismatch", "count": 1},
    ]
    state = a_state(observation=[{"rule": "new", "line": 7, **day}], observed=observed)
    name = "gateway_observed_refusals_total"
    assert value(state, name, rule="new", reason="certificate_missing") == 3
    assert value(state, name, rule="new", reason="certificate_expired") == 0
    assert value(state, name, rule="old", reason="user_mismatch") == 1
    assert name not in {found for found, _ in samples(a_state())}
