"""The page of a project says what it is, what of it is here, and why something is not."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urljoin

import pytest

from pypimirror.serve.files import Directory
from pypimirror.serve.pages import about
from pypimirror.serve.pages.about import Descriptions, cleaned, described, is_web, parse
from pypimirror.serve.pages.site import Site
from tests.corpus.build import make_provenance, make_sdist, make_wheel
from tests.mirror import Mirror, attest, offer
from tests.serve.pages.conftest import Ask
from tests.simulator import Simulator

UPLOADED = "2024-05-06T07:08:09Z"


def test_it_shows_versions_files_proofs_and_commands(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    (old,) = offer(simulator, "six", "1.0", upload_time=UPLOADED, yanked="broken on Mondays")
    (new,) = offer(simulator, "six", "2.0", requires_python=">=3.11")
    mirror.sync()
    text = ask("/project/six/").body.decode()
    assert "pip install --index-url http://h/simple/" in text
    assert old.filename in text
    assert new.filename in text
    assert "2024-05-06" in text
    assert "broken on Mondays" in text
    assert "has the sha256 digest that sim0 gave" in text
    assert "&gt;=3.11" in text
    assert new.sha256 in text
    one = ask("/project/six/1.0/").body.decode()
    assert "six==1.0" in one
    assert new.filename not in one
    assert "This version is yanked." in one


@pytest.mark.parametrize("status", ["archived", "deprecated", "quarantined"])
def test_it_says_that_a_project_has_a_status_and_why(
    status: str, mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    project = simulator.project("six")
    project.set_status(status, "nobody <b>cares</b>", moves_serial=True)
    mirror.sync()
    text = ask("/project/six/").body.decode()
    assert f"This project is {status}." in text
    assert "nobody &lt;b&gt;cares&lt;/b&gt;" in text


def test_it_shows_licence_author_and_links_that_robots_do_not_follow(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    lines = [
        "License-Expression: MIT",
        "Author: Somebody",
        "Project-URL: Source, https://e.example/x",
    ]
    simulator.add_file("six", *make_wheel("six", "1.0", lines=lines), core_metadata=True)
    mirror.sync()
    text = ask("/project/six/").body.decode()
    assert "<dd>MIT</dd>" in text
    assert "<dd>Somebody</dd>" in text
    assert '<a href="https://e.example/x" rel="nofollow noopener noreferrer">Source</a>' in text


@pytest.mark.sqlite
def test_a_hostile_file_name_yank_reason_and_address_show_as_text(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    script = "<script>alert(1)</script>"
    offer(simulator, "six", "1.0", yanked=script)
    offer(simulator, "six", "2.0")
    name, content = make_wheel("six", "3.0")
    simulator.add_file("six", name.replace("3.0", f"3.0+{script}"), content)
    mirror.sync(sound=False)
    for path in (
        "/project/six/",
        "/project/six/1.0/",
        f"/project/{script}/",
        f"/project/six/{script}/",
    ):
        text = ask(path).body.decode()
        assert "<script>alert" not in text, path
    text = ask("/project/six/").body.decode()
    assert text.count("&lt;script&gt;alert(1)") >= 2


def test_each_version_has_a_line_that_installs_it(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", "1.0", "1!2.0")
    mirror.sync()
    text = ask("/project/six/").body.decode()
    for what in ("six", "six==1.0", "&#39;six==1!2.0&#39;"):
        assert f"http://h/simple/ --trusted-host h {what}</code>" in text
    assert "--trusted-host h six==1.0<" in ask("/project/six/1.0/").body.decode()


@pytest.mark.sqlite
def test_what_is_no_version_is_in_no_command(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    """People paste these commands, and a file may be named like one."""
    name, content = make_sdist("six", "1.0")
    simulator.add_file("six", "six-$(id).tar.gz", content)
    simulator.add_file("six", name, content)
    mirror.sync()
    text = ask("/project/six/").body.decode()
    assert "six-$(id).tar.gz" in text
    assert "six==$(id)" not in text
    odd = ask("/project/six/$(id)/")
    assert odd.head.status == 200
    assert b"pip install" not in odd.body


@pytest.mark.sqlite
def test_one_file_of_a_version_may_be_yanked(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    simulator.add_file("six", *make_sdist("six", "1.0"))
    simulator.add_file("six", *make_wheel("six", "1.0"), yanked="has a wrong tag")
    mirror.sync()
    text = ask("/project/six/").body.decode()
    assert re.search(r"yanked</span> has a wrong tag", text)
    assert "This version is yanked" not in ask("/project/six/1.0/").body.decode()


def test_it_says_why_a_file_is_not_here(mirror: Mirror, simulator: Simulator, ask: Ask) -> None:
    offer(simulator, "six", "1.0")
    (bad,) = offer(simulator, "six", "2.0")
    bad.set(digests={"sha256": "0" * 64})
    mirror.sync(sound=False)
    text = ask("/project/six/").body.decode()
    assert bad.filename in text
    assert "found to be bad, so it is not served" in text
    assert "1 not here" in text


def test_it_says_why_a_project_is_not_here(
    mirror: Mirror, simulator: Simulator, ask: Ask, site: Site
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select("six")
    mirror.sync()
    site.config = mirror.config
    made = ask("/project/other/")
    assert made.head.status == 404
    assert b"because [select.projects] leaves it out" in made.body
    assert b'<a href="../../search?q=other">' in made.body


def test_a_resolution_of_another_machine_counts(
    mirror: Mirror, simulator: Simulator, ask: Ask, site: Site
) -> None:
    offer(simulator, "six", "1.0")
    simulator.add_file("app", *make_wheel("app", "1.0", requires=["six"]), core_metadata=True)
    mirror.configure(select={"projects": ["app"], "dependencies": "resolved"})
    mirror.sync()
    shutil.rmtree(mirror.root / ".pypimirror" / "resolved")
    site.config = mirror.config
    mirror.query("UPDATE projects SET name = 'other' WHERE name = 'six'")
    assert b"six is not on this mirror. It would be mirrored" in ask("/project/six/").body
    assert b"because [select.projects] leaves it out" in ask("/project/idna/").body


def test_a_damaged_resolution_does_not_hide_that_something_is_missing(
    mirror: Mirror, simulator: Simulator, ask: Ask, site: Site
) -> None:
    offer(simulator, "six", "1.0")
    mirror.configure(select={"projects": ["six"], "dependencies": "resolved"})
    mirror.sync()
    site.config = mirror.config
    mirror.query("UPDATE marks SET value = '?' WHERE name = 'resolved locks'")
    for path, text in (
        ("/project/idna/", b"idna is not on this mirror."),
        ("/project/six/9.0/", b"This mirror knows no version 9.0 of six."),
    ):
        made = ask(path)
        assert made.head.status == 404
        assert text in made.body


def test_what_clients_may_ask_for_is_not_said_to_be_left_out(
    mirror: Mirror, simulator: Simulator, ask: Ask, site: Site
) -> None:
    offer(simulator, "six", "1.0")
    mirror.configure(select={"projects": ["six"]}, on_demand={"projects": ["idna"]})
    mirror.sync()
    site.config = mirror.config
    assert b"it comes when an installer asks for it" in ask("/project/idna/").body
    assert b"because [select.projects] leaves it out" in ask("/project/attrs/").body


@pytest.mark.sqlite
def test_it_says_why_a_version_is_not_here(
    mirror: Mirror, simulator: Simulator, ask: Ask, site: Site
) -> None:
    offer(simulator, "six", "1.0", "2.0")
    mirror.select("six>=2")
    mirror.sync()
    site.config = mirror.config
    left_out, unknown, none = (ask(f"/project/six/{v}/") for v in ("1.0", "3.0", "$(id)"))
    assert {made.head.status for made in (left_out, unknown, none)} == {404}
    assert b"no version 1.0 of six, because [select.projects] leaves it out" in left_out.body
    assert b"No upstream offered it when the page of six was last fetched, less" in unknown.body
    assert b"This mirror knows no version $(id) of six." in none.body
    assert b'<a href="../../../project/six/">All versions of six</a>' in left_out.body


@pytest.mark.sqlite
def test_it_says_how_to_get_a_project_that_comes_on_demand(
    mirror: Mirror, simulator: Simulator, ask: Ask, site: Site
) -> None:
    offer(simulator, "held", "1.0")
    mirror.select("held==1.0", exclude=["evil"])
    mirror.configure(on_demand={"projects": ["*"]})
    mirror.sync()
    site.config = mirror.config
    made = ask("/project/six/")
    assert made.head.status == 404
    assert b"it comes when an installer asks for it" in made.body
    assert b"pip install --index-url http://h/simple/ --trusted-host h six<" in made.body
    assert b"[select.exclude] leaves it out" in ask("/project/evil/").body
    assert b"no version 2.0 of held yet. If an" in ask("/project/held/2.0/").body


@pytest.mark.sqlite
def test_what_leaves_a_project_out_is_no_path_for_the_public(
    mirror: Mirror, simulator: Simulator, ask: Ask, site: Site
) -> None:
    entries = mirror.base / "refused.txt"
    entries.write_text("six==1.0\nevil\n")
    offer(simulator, "six", "1.0", "2.0")
    mirror.configure(select={"exclude": [f"-r {entries}"]})
    mirror.sync()
    for path in ("/project/evil/", "/project/six/1.0/"):
        for status, is_shown in (("public", False), ("local", True)):
            mirror.configure(serve={"status": status})
            site.config = mirror.config
            made = ask(path)
            assert made.head.status == 404
            assert b"leaves it out" in made.body
            assert (str(entries).encode() in made.body) is is_shown


def test_other_spellings_lead_to_the_page(ask: Ask) -> None:
    for path, place in {
        "/project/Six_X/": "/project/six-x/",
        "/project/Six_X/1.0/": "/project/six-x/1.0/",
        "/project/six": "/project/six/",
        "/project/six/1.0": "/project/six/1.0/",
    }.items():
        made = ask(path)
        assert made.head.status == 301
        assert urljoin(f"http://h{path}", made.head.location) == f"http://h{place}"


def test_requirements_and_dependents_are_linked(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", "1.0")
    wheel = make_wheel("user", "1.0", requires=["six>=1", "absent; python_version > '3'"])
    simulator.add_file("user", *wheel, core_metadata=True)
    mirror.sync()
    user = ask("/project/user/").body.decode()
    assert '<a href="../../project/six/">six</a>' in user
    assert re.search(r"absent <span class=\"mark\">not here</span>", user)
    assert '<a href="../../project/user/">user</a>' in ask("/project/six/").body.decode()


def test_without_core_metadata_an_sdist_says_what_the_project_is(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    told = make_sdist("six", "1.0", summary="Old and useful", description="For *both* of them.")
    simulator.add_file("six", *told)
    mirror.sync()
    text = ask("/project/six/").body.decode()
    assert "Old and useful" in text
    assert "For <em>both</em> of them." in text


@pytest.mark.parametrize(
    ("publisher", "shown"),
    [
        (
            {"kind": "GitHub", "repository": "a/six", "workflow": "publish.yaml"},
            "Published by GitHub a/six publish.yaml, as its attestation says.",
        ),
        (
            {"kind": "Google", "email": "six@a.example"},
            "Published by Google six@a.example, as its attestation says.",
        ),
        ({"kind": "GitHub", "repository": "<b>a</b>"}, "GitHub &lt;b&gt;a&lt;/b&gt;, as its"),
        ({"kind": "none"}, None),
    ],
)
@pytest.mark.sqlite
def test_it_says_who_published_a_file_by_its_attestation(
    mirror: Mirror,
    simulator: Simulator,
    ask: Ask,
    publisher: dict[str, str],
    shown: str | None,
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    attest(file, make_provenance(file.filename, bytes(file.content), publisher=publisher))
    mirror.sync()
    text = ask("/project/six/").body.decode()
    assert (shown or "Verified:") in text
    assert ("Published by" in text) == (shown is not None)


@pytest.mark.sqlite
def test_an_sdist_with_other_bytes_says_nothing(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    file = simulator.add_file("six", *make_sdist("six", "1.0", description="Right"))
    mirror.sync()
    path = mirror.root / "packages/six" / file.filename
    path.chmod(0o644)
    path.write_bytes(make_sdist("six", "1.0", description="Wrong")[1])
    made = ask("/project/six/")
    assert made.head.status == 200
    assert b"Wrong" not in made.body
    assert b"This version has no description on this mirror." in made.body


def test_a_page_of_a_large_project_stays_small(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    offer(simulator, "six", *(f"{n}.0" for n in range(1, 60)))
    mirror.sync()
    made = ask("/project/six/")
    assert len(made.body) < 40_000
    assert b"Show all 59 versions" in made.body
    assert ask("/project/six/", "all").body.count(b'<details class="release"') == 59


# Descriptions


def test_kept_descriptions_have_a_bound_and_what_was_not_here_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Descriptions(Directory(tmp_path))
    monkeypatch.setattr(about, "KEPT", 100_000)
    (tmp_path / "packages").mkdir()
    for number in range(20):
        body = b"Metadata-Version: 2.1\nName: x\n\n%d" % number + b" word" * 2_000
        path, digest = f"packages/{number}.whl.metadata", hashlib.sha256(body).digest()
        assert found.read(path, digest) is None
        (tmp_path / path).write_bytes(body)
        said = found.read(path, digest)
        assert said is not None
        (tmp_path / path).unlink()
        assert found.read(path, digest) is said
    assert 2 <= len(found._kept) < 20
    assert found._size == sum(map(about._size, found._kept.values())) <= 100_000


EVIL = """Hello <script>alert(1)</script>

<img src=x onerror=alert(1)><a href="javascript:alert(1)">click</a>
<a href="https://e.example/" target=_top style="position:fixed" id=content class=card>good</a>
<iframe src="//e.example"></iframe><form action="//e.example"><input></form>
<a href="//e.example"><img src="//e.example/badge.svg"></a>
"""


@pytest.mark.parametrize("kind", ["text/markdown", "text/x-rst", "", "text/plain", "text/nonsense"])
def test_a_hostile_description_shows_as_text(kind: str) -> None:
    html = described(EVIL, kind)
    for tag in ("script", "img", "iframe", "form", "input", "svg", "style"):
        assert f"<{tag}" not in html
    assert not re.search(r"<[^>]*(onerror|javascript:|style=|id=|class=)", html)
    assert "Hello" in html


def test_links_of_a_description_are_not_followed_by_robots() -> None:
    html = described("[good](https://e.example/)", "text/markdown")
    assert 'rel="nofollow noopener"' in html


@pytest.mark.parametrize("target", ["#usage", "docs/x.md", "../../simple/", "//e.example/", "/x"])
def test_links_of_a_description_that_lead_nowhere_here_are_none(target: str) -> None:
    for kind, text in (
        ("text/markdown", f"See [this]({target})."),
        ("text/x-rst", f"See `this <{target}>`_."),
        ("text/markdown", f"<a HREF='{target}' title=x>See</a> this"),
    ):
        html = described(text, kind)
        assert "href" not in html
        assert "See" in html
        assert "this" in html


@pytest.mark.parametrize("kind", ["text/markdown", "text/x-rst"])
def test_code_in_a_description_stays_as_it_is(kind: str) -> None:
    code = "if a < b:\n    print('&amp;')"
    indented = code.replace("\n", "\n    ")
    text = {
        "text/markdown": f"Use it:\n\n```python\n{code}\n```\n",
        "text/x-rst": f"Use it:\n\n.. code-block:: python\n\n    {indented}\n",
    }[kind]
    html = described(text, kind)
    assert re.search(r"<pre>(<code>)?if a &lt; b:\n    print\(", html)
    assert "&amp;amp;" in html


def test_headings_of_a_description_are_below_ours() -> None:
    assert cleaned("<h1>a</h1><h5>b</h5><h2>c</h2>") == "<h3>a</h3><h4>b</h4><h4>c</h4>"


@pytest.mark.parametrize("kind", ["text/markdown", "text/x-rst"])
def test_a_long_or_deep_description_is_cut(kind: str) -> None:
    assert len(described("* a\n" * 200_000, kind)) < 1_500_000
    assert described("> " * 20_000 + "x", kind)
    assert "not shown" in described("word " * 100_000, kind)


def test_a_description_that_takes_too_long_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypimirror.serve.pages.about.PATIENCE", 0.000_001)
    assert described("*a* `b`_\n" * 20_000, "text/x-rst").startswith("<pre>")


def test_nothing_is_said_when_the_time_is_over_in_a_finalizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python loses an error that is raised there, and would report it. The next one counts."""
    reported: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    class Slow:
        def __del__(self) -> None:
            ended.append(True)
            while True:
                pass

    ended: list[bool] = []
    with pytest.raises(about._TooLongError), about._at_most(0.01):
        Slow()
        ended.append(False)
        while True:
            pass
    assert ended == [True, False] and not reported

    class Broken:
        def __del__(self) -> None:
            raise ValueError

    with about._at_most(60):
        Broken()
    assert [each.exc_type for each in reported] == [ValueError]


@pytest.mark.parametrize(
    "text", ["- " * 300 + "a", "\n\n".join(" " * n + "* a" for n in range(400))]
)
def test_a_description_that_is_too_deep_for_its_library_is_plain_text(text: str) -> None:
    assert described(text, "text/x-rst").startswith("<pre>")


def test_only_addresses_of_the_web_become_links() -> None:
    assert is_web("https://e.example/x")
    for bad in ("javascript:alert(1)", "data:text/html,x", "https://", "http://[", "//e.example"):
        assert not is_web(bad), bad


def test_metadata_in_any_encoding_is_read() -> None:
    about = parse(b"Metadata-Version: 2.1\nName: x\nVersion: 1\nSummary: \xff\xfe a\n\n\xff")
    assert isinstance(about.summary, str)


def test_the_python_that_only_core_metadata_requires_is_shown(
    mirror: Mirror, simulator: Simulator, ask: Ask
) -> None:
    wheel = make_wheel("six", "1.0", requires_python=">=3.9,<4")
    simulator.add_file("six", *wheel, core_metadata=True)
    mirror.sync()
    shown = "<dt>Requires Python</dt><dd>&gt;=3.9,&lt;4</dd>"
    assert shown in ask("/project/six/").body.decode()
    assert shown in ask("/project/six/1.0/").body.decode()
