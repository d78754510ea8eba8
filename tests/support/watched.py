"""A running gateway that can be asked: status, health, metrics."""

from __future__ import annotations

import http.client
import json
import re
import signal

import yaml
from prometheus_client.parser import text_string_to_metric_families
from support import warm_gateway
from support.gateway import INSIDE, Gateway
from support.waiting import PATIENCE_SECONDS, until

SILENT_WORKER = re.compile("worker [0-9]+ does not answer")


class Watched(Gateway):
    """A gateway with an admin process."""

    @property
    def admin_port(self):
        return int(self.settings["admin"]["address"].rpartition(":")[2])

    def get(self, path, host=None):
        """(status, body) of the admin process's answer."""
        connection = http.client.HTTPConnection(INSIDE, self.admin_port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path, headers={} if host is None else {"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def state(self):
        status, body = self.get("/status")
        assert status == 200, body
        return json.loads(body)

    def metric(self, name, **labels):
        found = [
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else 0  # what has not happened yet is not counted yet

    def ask_status(self, *options, is_hung=False):
        """The finished `gateway status`; unless a worker `is_hung`, it is asked again until all of them answer.

        A worker that a busy machine keeps waiting for a second is a problem of its own.
        """

        def answered():
            done = warm_gateway.run(["status", "-c", self.config, *options])
            return done if is_hung or not SILENT_WORKER.search(done.stdout) else None

        return until(answered, "all workers answer `gateway status`")

    def rewrite(self, **more):
        self.config.write_text(yaml.safe_dump({**self.settings, **more}, sort_keys=False))
        self.signal(signal.SIGHUP)
