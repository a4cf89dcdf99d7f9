"""Gateways: an unnamed host at an address that is not public, beside the upstream's own host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.download.http.hosts import HostPolicy, parse_url
from pypimirror.download.protocol import Remote
from tests.download.certificates import Authority
from tests.download.conftest import BODY, Lab, MakeLab, good, problem
from tests.gateway import FILES, INDEX, address, gateway, lead
from tests.simulator import IndexFile, Redirect, Simulator

AT = "127.0.0.1"


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """An index behind a gateway, to which both names lead, and a file of it."""
    lead(monkeypatch, {INDEX: [AT], FILES: [AT]})
    with gateway(tmp_path) as running:
        running.add_file("six", "six-1.0.tar.gz", BODY)
        yield running


@pytest.fixture
def make(make_lab: MakeLab, behind: Simulator):
    """A fetcher that has never asked for a page, so that nobody has told it where the index is."""

    def make(**settings: object) -> Lab:
        url = f"{address(behind, INDEX)}/simple/"
        remote = {"hosts": ("*",), "ca_file": str(behind.ca_file), "url": url, **settings}
        return make_lab(simulator=behind, remotes=(Remote("sim", **remote),))

    return make


def file_url(behind: Simulator, name: str = FILES, scheme: str = "https") -> str:
    path = behind.index.projects["six"].files[0].path
    return f"{scheme}://{name}:{behind.server.port}{path}"


def refused(lab: Lab, url: str) -> str:
    """Why a file may not be asked for; nobody has been told of it."""
    found = problem(lab.file(url, size=len(BODY)), Reason.HOST_NOT_ALLOWED)
    assert found.attempts == 1
    assert lab.simulator.requests == []
    return found.message


@pytest.mark.parametrize(
    ("own", "asked", "beside"),
    [
        ("https://a/", "https://b/x", True),
        ("https://a:8443/", "https://b:8443/x", True),
        ("https://a/", "https://b:8443/x", False),
        ("https://a:8443/", "https://b/x", False),
        ("https://a/", "http://b:443/x", False),
        ("http://a/", "http://b/x", False),
        ("http://a/", "https://b/x", False),
        ("http://a:443/", "https://b/x", False),
        ("file:///srv/", "https://b/x", False),
    ],
)
def test_only_tls_at_one_port_is_what_a_gateway_answers_for(
    own: str, asked: str, beside: bool
) -> None:
    policy = HostPolicy(Remote("sim", own, ("*",)))
    found = policy.gateway(parse_url(asked).origin)
    assert found == (policy.own if beside else None)


def test_a_file_behind_the_gateway_of_its_index_arrives(make, behind: Simulator) -> None:
    """In a process that was never asked for a page, so that the order does not matter."""
    lab = make()
    for _ in range(2):
        good(lab.file(file_url(behind), size=len(BODY)), lab.path())
    assert behind.connections == 2  # one to see that the index is there


def test_where_pages_came_from_needs_no_further_proof(make, behind: Simulator) -> None:
    lab = make()
    page = lab.page(url=f"{address(behind, INDEX)}/simple/six/").page
    assert page is not None
    good(lab.file(page.files[0].url, size=len(BODY)), lab.path())
    assert page.files[0].url == file_url(behind)
    assert behind.connections == 2


def test_many_files_at_once_need_one_proof(make, behind: Simulator) -> None:
    lab = make()
    url = file_url(behind)
    for result in lab.together([lab.job(url, name=f"f{n}", size=len(BODY)) for n in range(8)]):
        assert result.problem is None, result.problem
    assert behind.connections <= 1 + 8


@pytest.mark.parametrize("hosts", [(), ("other.test",)])
def test_without_the_star_nothing_unnamed_is_asked(make, behind: Simulator, hosts) -> None:
    refused(make(hosts=hosts), file_url(behind))
    assert behind.connections == 0


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.2"],
        [AT, "127.0.0.2"],
        ["127.0.0.2", AT],
        ["::ffff:127.0.0.1"],
        ["::ffff:127.0.0.2"],
        ["64:ff9b::7f00:1"],
        ["169.254.169.254"],
        ["0.0.0.0"],
        ["::1"],
    ],
)
def test_no_address_but_the_own_hosts(
    make, behind: Simulator, monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    lead(monkeypatch, {INDEX: [AT], FILES: found})
    assert found[0] in refused(make(), file_url(behind)) or len(found) > 1
    assert behind.connections == 0


@pytest.mark.parametrize("order", [1, -1])
def test_an_index_that_leads_where_it_is_not_opens_no_door(
    make_lab: MakeLab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    order: int,
) -> None:
    """An index may have its name lead anywhere; it cannot prove to be what is there."""
    at = [AT, "127.0.0.2"][::order]
    lead(monkeypatch, {INDEX: at, "vault.test": ["127.0.0.2"]})
    with gateway(tmp_path, INDEX) as index, Simulator(host="127.0.0.2", tls=True) as vault:
        index.server.refuse()
        index.server.port = vault.server.port
        index.server.listen()
        vault.server.context = Authority(tmp_path, "other").server("vault.test")
        authorities = tmp_path / "both.pem"
        authorities.write_bytes((tmp_path / "other.pem").read_bytes() + index.ca_file.read_bytes())
        url = f"{address(index, INDEX)}/simple/"
        lab = make_lab(
            simulator=vault, remotes=(Remote("sim", url, ("*",), ca_file=str(authorities)),)
        )
        if order > 0:  # the index itself is reached elsewhere
            assert lab.page(url=url + "six/").problem.reason is Reason.MISSING
        assert "127.0.0.2" in refused(lab, address(vault, "vault.test") + "/secret")


def test_a_host_at_the_gateway_must_be_certified_by_its_own_name(
    make, behind: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(monkeypatch, {INDEX: [AT], "other.test": [AT]})
    found = problem(make().file(file_url(behind, "other.test")), Reason.CONNECTION)
    assert "other.test" in found.message and "not trusted" in found.message
    assert behind.requests == []


def test_an_index_that_is_not_certified_there_vouches_for_nobody(
    make, behind: Simulator, tmp_path: Path
) -> None:
    """A machine that can prove to be the unnamed host, and not to be the index."""
    behind.server.context = Authority(tmp_path).server(FILES)
    refused(make(ca_file=str(tmp_path / "authority.pem")), file_url(behind))


def test_plain_http_is_never_asked_there(make, behind: Simulator) -> None:
    refused(make(), file_url(behind, scheme="http"))
    assert behind.connections == 0


def test_another_port_is_never_asked_there(make, behind: Simulator) -> None:
    with Simulator() as other:
        url = f"https://{FILES}:{other.server.port}/x"
        refused(make(), url)
        assert other.connections == 0


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("http://files.test:{port}/x", Reason.REDIRECT),
        ("https://files.test:1/x", Reason.HOST_NOT_ALLOWED),
        ("https://private.test:{port}/x", Reason.HOST_NOT_ALLOWED),
        ("https://127.0.0.1:1/x", Reason.HOST_NOT_ALLOWED),
        ("https://[::ffff:127.0.0.2]:{port}/x", Reason.HOST_NOT_ALLOWED),
    ],
)
def test_a_redirect_from_the_gateway_leads_to_nothing_more(
    make, behind: Simulator, monkeypatch: pytest.MonkeyPatch, to: str, reason: Reason
) -> None:
    lead(monkeypatch, {INDEX: [AT], FILES: [AT], "private.test": ["127.0.0.2"]})
    file: IndexFile = behind.index.projects["six"].files[0]
    behind.fault(file, Redirect(to.format(port=behind.server.port)))
    problem(make().file(file_url(behind), size=len(BODY)), reason)
    assert len(behind.requests) == 1


def test_a_redirect_to_another_host_at_the_gateway_is_followed(
    make, behind: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(monkeypatch, {name: [AT] for name in (INDEX, FILES, "cdn.test")})
    behind.server.context = Authority(tmp_path, "wide").server(INDEX, FILES, "cdn.test")
    behind.redirect("/moved", file_url(behind, "cdn.test"))
    lab = make(ca_file=str(tmp_path / "wide.pem"), authorization="Bearer secret")
    url = f"{address(behind, FILES)}/moved"
    good(lab.file(url, size=len(BODY)), lab.path())
    assert all("authorization" not in request.headers for request in behind.requests)


def test_a_name_that_leads_elsewhere_later_is_checked_again(
    make, behind: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is of an address, and not of a name."""
    lab = make()
    lab.fetcher._client._transport._opener._resolver._keep = 0.0
    good(lab.file(file_url(behind), size=len(BODY)), lab.path())
    lab.fetcher.close()
    lead(monkeypatch, {INDEX: [AT], FILES: ["127.0.0.2"]})
    problem(lab.file(file_url(behind), size=len(BODY)), Reason.HOST_NOT_ALLOWED)


def test_what_one_upstream_is_behind_is_nothing_to_another(
    make_lab: MakeLab, behind: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a connection that the one may use is kept, and the other has a `*` too."""
    from msgspec.structs import replace

    lead(monkeypatch, {INDEX: [AT], FILES: [AT], "public.test": ["8.8.8.8"]})
    trust = str(behind.ca_file)
    port = behind.server.port
    lab = make_lab(
        simulator=behind,
        remotes=(
            Remote("inside", f"https://{INDEX}:{port}/simple/", ("*",), ca_file=trust),
            Remote("sim", f"https://public.test:{port}/simple/", ("*",), ca_file=trust),
        ),
    )
    job = lab.job(file_url(behind), size=len(BODY))
    good(lab.fetcher.do(replace(job, remote="inside")), lab.path())
    problem(lab.fetcher.do(job), Reason.HOST_NOT_ALLOWED)


def test_a_gateway_that_is_away_is_waited_for(make, behind: Simulator) -> None:
    """Its answer decides, and not that there was none."""
    lab = make()
    with behind.refusing():
        found = problem(lab.file(file_url(behind), size=len(BODY)), Reason.CONNECTION)
        assert found.attempts == 2
    good(lab.file(file_url(behind), size=len(BODY)), lab.path())


def test_the_second_address_of_a_gateway_stands_in_for_the_first(
    make, behind: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ["127.0.0.3", AT]  # nobody listens at the first
    lead(monkeypatch, {INDEX: both, FILES: both})
    lab = make()
    good(lab.file(file_url(behind), size=len(BODY)), lab.path())


def test_where_a_proxy_leads_is_not_where_the_index_is(
    make, behind: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is asked through a proxy, and so nothing is known of its address here."""
    monkeypatch.setenv("NO_PROXY", FILES)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    refused(make(), file_url(behind))
    assert behind.connections == 0
