"""Checks the upstreams, their alternates and the clock, with one cheap request for each address.

The requests go through the download worker, so they use the proxies, logins, certificates and host
rules of a sync.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pypimirror.config.sections import UpstreamSection
from pypimirror.config.settings import Config
from pypimirror.doctor import selected
from pypimirror.doctor.finding import Finding, FindingState, failed, ok, skipped, warning
from pypimirror.domain.model import Problem, Reason
from pypimirror.download.parent import download_workers
from pypimirror.download.protocol import Hello, Probe, Probed
from pypimirror.pipeline.context.remotes import places, remotes
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.discover.lists.listings import NO_LIST
from pypimirror.system.workers import Cancelled

#: Seconds that all answers together may take, and seconds that one answer may pause.
PATIENCE = 30.0
_PAUSE = 10.0

#: Warn if the clocks differ by more seconds.
SKEW = 120.0

_ABSENT = (404, 410)
_NO_HEAD = (405, 501)


def check(config: Config) -> Iterator[Finding]:
    """Check that each place answers, and that this machine's clock is right."""
    project = next(iter(selected.selection(config).named), "")
    asked = {
        number: (upstream, url, _probe(number, upstream, name, url, project))
        for number, (upstream, name, url) in enumerate(
            (upstream, *place) for upstream in config.upstream for place in places(upstream)
        )
    }
    answers = ask(config, [job for _, _, job in asked.values()])
    for number, (upstream, url, job) in asked.items():
        finding = _judge(upstream, url, job, answers.get(number))
        if finding.state is FindingState.WARNING and len(config.upstream) > 1:
            # Another upstream may have the project.
            finding = ok(finding.name, finding.seen)
        yield finding
    yield _clock([a.ahead for a in answers.values() if a.ahead is not None])


def _probe(number: int, upstream: UpstreamSection, name: str, url: str, project: str) -> Probe:
    if not kind_of(upstream).has_pages or not project:
        return Probe(number, name, url)
    return Probe(number, name, f"{url}{project}/", project)


def ask(config: Config, jobs: list[Probe]) -> dict[int, Probed]:
    """Send probes; return the answers that come in time, by the probe's number."""
    hello = Hello(
        remotes=remotes(config),
        timeout=min(config.download.timeout, _PAUSE),
        tries=1,
        user_agent=config.user_agent,
    )
    found: dict[int, Probed] = {}
    with download_workers(hello, processes=1) as workers:
        alarm = threading.Timer(PATIENCE, workers.cancel)
        alarm.start()
        try:
            for result in workers.run(jobs):
                assert isinstance(result, Probed)
                found[result.id] = result
        except Cancelled:
            pass  # a late answer is missing from the result
        finally:
            alarm.cancel()
    return found


def _judge(upstream: UpstreamSection, url: str, job: Probe, answer: Probed | None) -> Finding:
    name = f"upstream {upstream.name}"
    shown = url
    if url != upstream.url:
        shown = f"its alternate {shown}"
    if answer is None:
        return failed(name, f"{shown}: no answer within {PATIENCE:.0f} s", _LINE)
    if answer.problem is not None:
        return failed(name, f"{shown}: {answer.problem.message}", _remedy(answer.problem))
    took = f"in {answer.seconds * 1000:.0f} ms"
    if answer.status == 200:
        what = f"gave the page of {job.project}" if job.project else "answers"
        return ok(name, f"{shown}: {what} {took}{_login(upstream, answer)}")
    if answer.status in _ABSENT and job.project:
        return warning(
            name,
            f"{shown}: answers {took}, and has no page of {job.project}",
            "Check the address of the index and the name in select.projects",
        )
    if answer.status in _NO_HEAD:
        return ok(name, f"{shown}: answers {took}, though not to HEAD")
    if answer.status in NO_LIST and not job.project and not upstream.has_list:
        return ok(name, f"{shown}: answers {took}, and has no list, as has_list = false says")
    if answer.status in (401, 403, 407):
        return failed(name, f"{shown}: refuses this machine (HTTP {answer.status})", _LOGIN)
    remedy = _ADDRESS
    if answer.status in _ABSENT and kind_of(upstream).has_pages:
        remedy = f"{_ADDRESS}. {NAME_THEM}"
    return failed(name, f"{shown}: answers with HTTP {answer.status}", remedy)


def _login(upstream: UpstreamSection, answer: Probed) -> str:
    """Say where the login came from, and nothing of the login itself."""
    if not answer.login:
        return ""
    of = {"netrc": "of netrc", "keyring": "of the keyring", "given": "that is configured"}
    by = f", as {upstream.login} has it" if upstream.login else ""
    return f", with the login {of[answer.login]}{by}"


def _remedy(problem: Problem) -> str:
    if problem.reason in (Reason.CONNECTION, Reason.TIMEOUT):
        return _LINE
    if problem.reason is Reason.HOST_NOT_ALLOWED:
        return "Name the host in 'hosts' of the [[upstream]]"
    if problem.reason is Reason.HTTP_STATUS:  # a keyring failed; its message says what to do
        return _LOGIN
    return _ADDRESS


def _clock(ahead: list[float]) -> Finding:
    if not ahead:
        return skipped("clock", "no upstream says what time it is")
    least = min(ahead, key=abs)
    if abs(least) > SKEW:
        way = "behind" if least > 0 else "ahead of"
        return warning(
            "clock",
            f"{abs(least):.0f} s {way} the upstreams'",
            "Set it, and keep it right (NTP): grace periods, leases and certificates depend on it",
        )
    return ok("clock", f"within {SKEW:.0f} s of the upstreams'")


_LOGIN = "Give a login in the address or in ~/.netrc, or ask the upstream's operators"
_LINE = "Check the network, the proxy (HTTPS_PROXY) and the name resolution"
#: The remedy for an index that has project pages but no list.
NAME_THEM = (
    "If it has no list, name its projects in select.projects, and say has_list = false in its "
    "[[upstream]]: globs and an empty select.projects need a list, names do not"
)
_ADDRESS = "Check the address in [[upstream]] url; it is the one that ends in /simple/"
