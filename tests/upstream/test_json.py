"""Project pages in JSON: what is read, what is refused, and what it costs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypimirror.domain.model import ProjectPage, ProjectStatus, ReadError, Reason
from pypimirror.upstream import checks
from pypimirror.upstream.json import MAX_DEPTH, parse_page
from tests.upstream.pages import (
    OTHER_SHA,
    PAGES,
    SDIST,
    SHA,
    URL,
    WHEEL,
    as_json,
    assert_invariants,
    encode,
    entry,
    page,
    reasons,
)


def read(document: Any) -> ProjectPage:
    body = document if isinstance(document, bytes) else encode(document)
    parsed = parse_page(body, url=URL, project="six")
    assert_invariants(parsed)
    return parsed


def refused(document: Any) -> Reason:
    with pytest.raises(ReadError) as error:
        read(document)
    assert error.value.problem.project == "six"
    assert error.value.problem.message.isprintable()
    return error.value.problem.reason


def refused_file(**keys: Any) -> str:
    """The reason for which one file was refused; a good one beside it must stay."""
    parsed = read(page(entry(**keys), entry("six-9.zip")))
    assert [file.filename for file in parsed.files] == ["six-9.zip"]
    assert len(parsed.problems) == 1
    assert parsed.problems[0].file == str(keys.get("filename", SDIST))
    return parsed.problems[0].reason.value


def test_everything_a_file_may_say() -> None:
    parsed = read(
        page(
            entry(
                WHEEL,
                hashes={"sha256": SHA.upper()},
                requires_python=">=2.7",
                core_metadata={"sha256": OTHER_SHA},
                gpg_sig=True,
                yanked="broken <b>",
                size=11053,
                upload_time="2021-05-05T14:18:17.237201Z",
                provenance="https://index.example.org/integrity/six",
                _server=1,
                colour={"red": [1]},
            ),
            name="Six",
            versions=["1.16.0"],
            project_status={"status": "archived", "reason": "done"},
            meta={"api-version": "1.4", "_last-serial": 42},
            _x=1,
            tracks=["a"],
        )
    )
    assert (parsed.project, parsed.name, parsed.api_version) == ("six", "Six", (1, 4))
    assert (parsed.serial, parsed.versions, parsed.extra) == (42, ("1.16.0",), {"tracks": ["a"]})
    assert (parsed.status, parsed.status_reason) == (ProjectStatus.ARCHIVED, "done")
    (file,) = parsed.files
    assert file.filename == WHEEL
    assert file.digests == {"sha256": SHA}
    assert file.requires_python == ">=2.7"
    assert file.core_metadata == {"sha256": OTHER_SHA}
    assert file.yanked == "broken <b>"
    assert file.size == 11053
    assert file.upload_time == "2021-05-05T14:18:17.237201Z"
    assert file.provenance == "https://index.example.org/integrity/six"
    assert file.extra == {"colour": {"red": [1]}}
    assert not parsed.problems and not parsed.warnings


def test_a_file_that_says_the_least() -> None:
    (file,) = read(page({"filename": SDIST, "url": SDIST})).files
    assert file.url == URL + SDIST
    assert file.digests == {}
    assert (file.size, file.yanked, file.core_metadata, file.extra) == (None, None, None, {})


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(True, ""), (False, None), (None, None), ("", ""), ("bad", "bad")],
)
def test_yanked(stated: Any, expected: str | None) -> None:
    assert read(page(entry(yanked=stated))).files[0].yanked == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"core-metadata": True}, {}),
        ({"core-metadata": False, "dist-info-metadata": True}, None),
        ({"core-metadata": None, "dist-info-metadata": {"sha256": SHA}}, {"sha256": SHA}),
        ({"data-dist-info-metadata": {"sha256": SHA}}, {"sha256": SHA}),
        ({"core-metadata": {"sha256": SHA}, "data-dist-info-metadata": False}, {"sha256": SHA}),
        ({"core-metadata": {}}, {}),
        ({}, None),
    ],
)
def test_core_metadata_in_all_its_spellings(
    stated: dict[str, Any], expected: dict[str, str] | None
) -> None:
    (file,) = read(page({**entry(WHEEL), **stated})).files
    assert file.core_metadata == expected
    assert file.extra == {}


def test_any_extension_is_a_file() -> None:
    assert read(page(entry("six-1.0.whatever"), entry("six.odd"))).problems == ()


@pytest.mark.parametrize("text", ["1.0", "1.1", "1.2", "1.3", "1.4"])
def test_known_versions(text: str) -> None:
    parsed = read(page(meta={"api-version": text}))
    assert parsed.api_version == (1, int(text[-1]))
    assert not parsed.warnings


def test_unknown_minor_version_warns() -> None:
    parsed = read(page(entry(), meta={"api-version": "1.17"}))
    assert parsed.api_version == (1, 17)
    assert len(parsed.files) == 1
    assert "1.17" in parsed.warnings[0]


def test_unknown_major_version_stops_whatever_the_rest_looks_like() -> None:
    assert refused({"meta": {"api-version": "2.0"}, "projects": {}}) is Reason.API_VERSION
    assert refused(page(meta={"api-version": "0.9"})) is Reason.API_VERSION


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"six"', b"{}", b"<html>", b'{"a": "\xff"}', b"[" * 100_000,
     b'{"a":' * 100_000, b'{"meta": 1e999}', b"\xff\xfe{\0}\0"],
)  # fmt: skip
def test_invalid_json(body: bytes) -> None:
    assert refused(body) is Reason.BAD_PAGE


def test_a_page_without_files_is_none() -> None:
    document = page(entry())
    del document["files"]
    assert refused(document) is Reason.BAD_PAGE


@pytest.mark.parametrize("keys", [{"meta"}, {"name"}, {"meta", "name"}, {"api-version"}])
def test_a_page_that_pip_takes_without_saying_what_it_is_is_taken_with_a_warning(
    keys: set[str],
) -> None:
    document = page(entry())
    for key in keys & document.keys():
        del document[key]
    if "api-version" in keys:
        document["meta"] = {}
    found = read(document)
    assert [file.filename for file in found.files] == [entry()["filename"]]
    assert found.name == "six"
    assert len(found.warnings) == len(keys)
    if keys != {"name"}:
        assert found.api_version == (1, 0)
    # An empty answer of anything else is no page that has lost all files.
    assert refused(document | {"files": []}) is Reason.BAD_PAGE


@pytest.mark.parametrize(
    "keys",
    [
        {"meta": []},
        {"meta": {"api-version": [1.0]}},
        {"meta": {"api-version": "one"}},
        {"meta": {"api-version": "1"}},
        {"meta": {"api-version": "9" * 5000 + ".0"}},
        {"name": 6},
        {"name": None},
        {"files": {}},
        {"files": None},
        {"versions": "1.0"},
        {"versions": [1.0]},
        {"project-status": "quarantined"},
        {"project-status": {"status": 1}},
        {"versions": ["1.0\0"]},
        {"project-status": {"status": "archived", "reason": "\0"}},
    ],
)
def test_wrong_type_on_the_page(keys: dict[str, Any]) -> None:
    assert refused({**page(entry()), **keys}) is Reason.BAD_PAGE


@pytest.mark.parametrize(
    "keys",
    [
        {"size": "11053"},
        {"size": -1},
        {"size": 1.5},
        {"size": 2**63},
        {"size": True},
        {"yanked": 1},
        {"yanked": {}},
        {"hashes": []},
        {"hashes": {"sha256": 5}},
        {"requires_python": 3.8},
        {"requires_python": ">=3\0"},
        {"yanked": "\0"},
        {"core_metadata": "true"},
        {"provenance": {}},
        {"url": None},
        {"url": 5},
    ],
)
def test_wrong_type_of_one_file_costs_that_file(keys: dict[str, Any]) -> None:
    assert refused_file(**keys) == "bad-page"


@pytest.mark.parametrize("item", [None, 5, "six-1.0.zip", [], {}, {"filename": 5, "url": ""}])
def test_an_entry_that_is_no_file_costs_that_entry(item: Any) -> None:
    parsed = read(page(item, entry()))
    assert len(parsed.files) == 1
    assert reasons(parsed.problems) == ["bad-page"]


def test_name_that_normalises_to_another_project() -> None:
    assert refused(page(entry(), name="seven")) is Reason.WRONG_PROJECT
    assert refused(page(entry(), name="")) is Reason.WRONG_PROJECT
    assert refused(page(entry(), name="six\n")) is Reason.WRONG_PROJECT
    # A letter that is "k" only after lower().
    with pytest.raises(ReadError) as error:
        parse_page(encode(page(name="\u212aiwi")), url=URL, project="kiwi")
    assert error.value.problem.reason is Reason.WRONG_PROJECT


def test_file_of_a_different_project() -> None:
    assert refused_file(filename="seven-1.0.zip") == "wrong-project"


@pytest.mark.parametrize(
    "name",
    ["../six-1.0.zip", "/six-1.0.zip", "six-1.0\0.zip", "six-1.0\n.zip", ".six.zip", "-six.zip",
     "six-%2e%2e%2f.zip", "six-" + "1" * 300 + ".zip", "", "..", f"{WHEEL}.metadata"],
)  # fmt: skip
def test_unsafe_names(name: str) -> None:
    parsed = read(page(entry(name), entry()))
    assert [file.filename for file in parsed.files] == [SDIST]
    assert reasons(parsed.problems) == ["unsafe-name"]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)//six-1.0.zip",
        "data:application/zip;base64,UEsFBg",
        "file:///etc/passwd",
        "ftp://files.example.org/six-1.0.zip",
        "https://user:secret@files.example.org/six-1.0.zip",
        "https://user@files.example.org/six-1.0.zip",
        "//@files.example.org/six-1.0.zip",
        "http:///six-1.0.zip",
        "https://:80/six-1.0.zip",
        "https://files.example.org:99999/six-1.0.zip",
        "https://files.example.org:x/six-1.0.zip",
        "https://[::1/six-1.0.zip",
        "https://a b/six-1.0.zip",
        "https://files.example.org\\@evil.example.org/six-1.0.zip",
        "https://files.example.org/six-1.0.zip\r\nHost: evil.example.org",
        "java\nscript:alert(1)",
        "https://fil\u0435s.example.org/six-1.0.zip",
    ],
)
def test_unsafe_url(url: str) -> None:
    assert refused_file(url=url) == "unsafe-url"
    assert refused_file(provenance=url) == "unsafe-url"


def test_a_problem_says_what_is_wrong_with_a_link() -> None:
    (problem,) = read(page(entry(url="https://user:secret@h.example.org/x"))).problems
    assert "credentials" in problem.message
    assert "secret" not in problem.message + problem.url


def test_credentials_of_the_page_go_neither_into_links_nor_into_messages() -> None:
    url = "https://user:secret@index.example.org/simple/six/"
    (file,) = parse_page(encode(page(entry(url=SDIST))), url=url, project="six").files
    assert file.url == URL + SDIST
    with pytest.raises(ReadError) as error:
        parse_page(b"", url=url, project="six")
    assert "secret" not in error.value.problem.message + error.value.problem.url


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        (SDIST, URL + SDIST),
        ("../../files/" + SDIST, "https://index.example.org/files/" + SDIST),
        ("/files/" + SDIST, "https://index.example.org/files/" + SDIST),
        ("//other.example.org/" + SDIST, "https://other.example.org/" + SDIST),
        ("HTTP://other.example.org/" + SDIST, "http://other.example.org/" + SDIST),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ("http://127.0.0.1:35000/a?b=c/d", "http://127.0.0.1:35000/a?b=c/d"),
        ("a b\u00e9?x=y z", URL + "a%20b%C3%A9?x=y%20z"),
        (f"six-1.0%2Blocal.zip#sha256={SHA}", URL + "six-1.0%2Blocal.zip"),
    ],
)
def test_relative_and_odd_urls(url: str, absolute: str) -> None:
    assert read(page(entry(url=url))).files[0].url == absolute


def test_local_files_only_from_local_pages() -> None:
    body = encode(page(entry(url=SDIST)))
    (file,) = parse_page(body, url="file:///srv/simple/six/", project="six").files
    assert file.url == f"file:///srv/simple/six/{SDIST}"


@pytest.mark.parametrize("port", [80, 9999, 59999, 64999, 65535])
def test_ports_up_to_the_last_one(port: int) -> None:
    link = f"http://127.0.0.1:{port}/a"
    assert checks.resolve(link, URL) == link


@pytest.mark.parametrize("port", [65536, 70000, 123456])
def test_ports_beyond_the_last_one(port: int) -> None:
    with pytest.raises(checks.RefusedError):
        checks.resolve(f"http://127.0.0.1:{port}/a", URL)


@given(st.text(alphabet="htps:/.?#%2 @[]\\a1\u00e9", max_size=25))
def test_resolving_twice_changes_nothing(link: str) -> None:
    try:
        once = checks.resolve(link, URL)
    except checks.RefusedError:
        return
    assert checks.resolve(once, "http://elsewhere.example.org/") == once


@pytest.mark.parametrize(
    "base", ["http://h", "http://h/", "https://h:1/x/y/", "http://h/x/y?z/w", "file:///x/y/"]
)
def test_common_links_are_resolved_as_all_others(base: str) -> None:
    """All links of up to three parts of each kind."""

    def resolved(how: Callable[[str, str], str], link: str) -> str:
        try:
            return how(link, base)
        except checks.RefusedError as error:
            return error.message

    parts = ["..", ".", "", "a", "a.b", ".a", "a+b~1", "a:b", "%2e", "a b", "?", "a#"]
    for number in range(1, 4):
        for link in map("/".join, itertools.product(parts, repeat=number)):
            assert resolved(checks.resolve, link) == resolved(checks._joined, link), link


def test_same_name_with_the_same_digest_is_one_file() -> None:
    parsed = read(page(entry(size=1), entry(size=1)))
    assert [file.size for file in parsed.files] == [1]
    assert parsed.problems == parsed.warnings == ()


def test_same_name_with_the_same_digest_and_two_sizes_has_none() -> None:
    parsed = read(page(entry(size=1), entry(size=2), entry(size=3)))
    assert [file.size for file in parsed.files] == [None]
    assert "two sizes" in parsed.warnings[0]


def test_same_name_with_two_sizes_and_nothing_to_tell_them_apart_is_refused() -> None:
    parsed = read(page(entry(hashes={}, size=1), entry(hashes={}, size=2)))
    assert not parsed.files
    assert reasons(parsed.problems) == ["digest-conflict"]


def test_a_later_claim_on_the_same_name_tells_what_the_first_does_not() -> None:
    later = {"size": 3, "requires_python": ">=3.8", "provenance": "https://a.example.org/p"}
    parsed = read(page(entry(), entry(**later), entry(requires_python=">=3.9")))
    (file,) = parsed.files
    assert (file.size, file.requires_python, file.provenance) == tuple(later.values())
    assert "requires-python of six" in parsed.warnings[0]


def test_same_name_with_different_digests() -> None:
    parsed = read(
        page(
            entry(), entry(hashes={"sha256": OTHER_SHA}), entry("six-9.zip"), entry(), entry(WHEEL)
        )
    )
    assert [file.filename for file in parsed.files] == ["six-9.zip", WHEEL]
    (problem,) = parsed.problems
    assert problem.reason is Reason.DIGEST_CONFLICT
    assert problem.file == SDIST
    assert SHA in problem.message and OTHER_SHA in problem.message


def test_same_name_with_a_digest_that_adds_to_the_first() -> None:
    parsed = read(page(entry(hashes={}), entry(yanked="bad"), entry(hashes={"md5": "ab" * 16})))
    (file,) = parsed.files
    assert file.digests == {"sha256": SHA, "md5": "ab" * 16}
    assert file.yanked == "bad"


def test_same_name_with_one_equal_and_one_different_digest() -> None:
    parsed = read(
        page(
            entry(hashes={"sha256": SHA, "md5": "ab" * 16}),
            entry(hashes={"sha256": SHA, "md5": "cd" * 16}),
        )
    )
    assert not parsed.files
    assert reasons(parsed.problems) == ["digest-conflict"]


@pytest.mark.parametrize(
    "later", ["SIX-1.16.0.tar.gz", "six-1.16.0.TAR.gz", "six-1.16.0.tar.g\uff5a"]
)
def test_names_that_differ_only_by_case_or_form(later: str) -> None:
    parsed = read(page(entry(), entry(later)))
    assert [file.filename for file in parsed.files] == [SDIST]
    assert reasons(parsed.problems) == ["duplicate-name"]


@pytest.mark.parametrize(
    "hashes",
    [
        {"sha256": ""},
        {"sha256": SHA[:-1]},
        {"sha256": SHA + "00"},
        {"sha256": "x" + SHA[1:]},
        {"sha256": SHA[:-1] + "\n"},
        {"sha256": "\uff10" * 64},
        {"md5": SHA},
        {"sha512": SHA},
        {"blake2b": "00"},
        {"sha256": SHA, "md5": "zz"},
    ],
)
def test_bad_digest(hashes: dict[str, str]) -> None:
    assert refused_file(hashes=hashes) == "bad-digest"


def test_a_bad_digest_of_core_metadata_costs_no_wheel() -> None:
    """Its own core metadata are taken out of it, whatever the page says."""
    parsed = read(page(entry(WHEEL, core_metadata={"sha256": SHA[:-1]})))
    assert parsed.files[0].core_metadata is None
    assert "core metadata" in parsed.warnings[0]


@pytest.mark.parametrize(
    ("hashes", "digests"),
    [
        ({"sha3_256": SHA, "crc32": "x", "": ""}, {}),
        ({"SHA256": SHA.upper()}, {"sha256": SHA}),
        ({"blake2b": SHA}, {"blake2b_256": SHA}),
        ({"blake2b": SHA * 2}, {"blake2b": SHA * 2}),
        ({"blake2b_256": SHA}, {"blake2b_256": SHA}),
        (None, {}),
    ],
)
def test_digests_of_unknown_and_of_oddly_named_algorithms(
    hashes: dict[str, str] | None, digests: dict[str, str]
) -> None:
    assert read(page(entry(hashes=hashes))).files[0].digests == digests


def test_one_algorithm_with_two_values() -> None:
    assert refused_file(hashes={"sha256": SHA, "SHA256": OTHER_SHA}) == "digest-conflict"


def test_quarantined_project_has_no_files() -> None:
    parsed = read(page(entry(), entry("../x"), project_status={"status": "Quarantined"}))
    assert parsed.status is ProjectStatus.QUARANTINED
    assert parsed.files == () and parsed.problems == ()


def test_unknown_status_is_active_with_a_warning() -> None:
    parsed = read(page(entry(), project_status={"status": "sleeping"}))
    assert parsed.status is ProjectStatus.ACTIVE
    assert len(parsed.files) == 1
    assert "sleeping" in parsed.warnings[0]


@pytest.mark.parametrize("stated", [{}, None, {"status": None}, {"status": "active"}])
def test_status_by_default(stated: Any) -> None:
    parsed = read(page(project_status=stated))
    assert parsed.status is ProjectStatus.ACTIVE and not parsed.warnings


@pytest.mark.parametrize("serial", ["", "seven", "7.0", "7" * 20, -1, 2**53, 1.5, True, {}, []])
def test_a_serial_that_is_none_is_left_out(serial: Any) -> None:
    parsed = read(page(entry(), meta={"api-version": "1.4", "_last-serial": serial}))
    assert parsed.serial is None
    assert len(parsed.warnings) == 1


@pytest.mark.parametrize("serial", ["7", 7, 7.0, "007"])
def test_a_serial_in_any_spelling(serial: Any) -> None:
    parsed = read(page(entry(), meta={"api-version": "1.4", "_last-serial": serial}))
    assert (parsed.serial, parsed.warnings) == (7, ())


def test_an_upload_time_that_is_none_is_left_out() -> None:
    # pip and uv give up on a page with a time that they cannot read.
    names = [f"six-{n}.zip" for n in range(4)]
    times = ["yesterday", "", 1620224297, "2025-02-30T00:00:00Z"]
    parsed = read(page(*(entry(n, upload_time=t) for n, t in zip(names, times, strict=True))))
    assert [file.upload_time for file in parsed.files] == [None] * 4
    (warning,) = parsed.warnings
    assert warning.startswith("upload times are not valid and were left out (4): six-0.zip, ")


def test_upload_times_are_in_utc() -> None:
    stated = "2021-05-05 14:18:17.237+02:00"
    parsed = read(page(entry(upload_time=stated)))
    assert parsed.files[0].upload_time == "2021-05-05T12:18:17.237000Z"


def test_unknown_values_that_cannot_be_passed_on_are_left_out() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    parsed = read(page(entry(deep=deep, nul="\0", fine=[1]), inner={"\0": 1}))
    assert parsed.files[0].extra == {"fine": [1]}
    assert parsed.extra == {}
    assert parsed.warnings == (
        "values that cannot be passed on were left out (3): deep, inner, nul",
    )


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400, "9" * 5000])
def test_a_number_without_an_end_costs_what_it_stands_in(number: str) -> None:
    body = encode(page(entry("six-9.zip", size="N"), entry())).replace(b'"N"', number.encode())
    parsed = read(body)
    assert [file.filename for file in parsed.files] == [SDIST]
    assert reasons(parsed.problems) == ["bad-page"]


def test_a_page_of_garbage_makes_a_short_report() -> None:
    parsed = read(page(*[{}] * (checks.MAX_PROBLEMS + 500), entry()))
    assert len(parsed.files) == 1
    assert len(parsed.problems) == checks.MAX_PROBLEMS + 1
    assert "500 more refused files" in parsed.problems[-1].message


def test_a_page_with_too_many_values_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypimirror.upstream.json.MAX_COMMAS", 20)
    assert refused(page(*[entry()] * 10)) is Reason.BAD_PAGE


def test_a_byte_order_mark_is_no_error() -> None:
    assert len(read(b"\xef\xbb\xbf" + encode(page(entry()))).files) == 1


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
ODD_ENTRIES = st.fixed_dictionaries(
    {"filename": st.sampled_from([SDIST, WHEEL, "SIX-1.16.0.tar.gz", "../six"]) | VALUES},
    optional={
        "url": st.sampled_from([SDIST, "https://files.example.org/x", "http://u@h/"]) | VALUES,
        "hashes": st.dictionaries(
            st.sampled_from(["sha256", "md5", "blake2b"]),
            st.sampled_from([SHA, OTHER_SHA, "ab" * 16]) | VALUES,
        )
        | VALUES,
        "core-metadata": VALUES,
        "yanked": VALUES,
        "size": VALUES,
        "upload-time": VALUES,
        "provenance": VALUES,
        "other": VALUES,
    },
)
ODD_PAGES = st.fixed_dictionaries(
    {
        "meta": st.just({"api-version": "1.4"}) | VALUES,
        "name": st.just("six") | VALUES,
        "files": st.lists(ODD_ENTRIES | VALUES, max_size=4) | VALUES,
    },
    optional={
        "versions": VALUES,
        "project-status": st.fixed_dictionaries({"status": VALUES}) | VALUES,
        "other": VALUES,
    },
)


def survives(body: bytes) -> None:
    try:
        parsed = parse_page(body, url=URL, project="six")
    except ReadError:
        return
    assert_invariants(parsed)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_page_or_a_read_error(body: bytes) -> None:
    survives(body)


@settings(max_examples=300)
@given(ODD_PAGES)
def test_any_json_gives_a_page_or_a_read_error(document: Any) -> None:
    survives(json.dumps(document).encode())


@given(ODD_PAGES.filter(lambda d: isinstance(d["files"], list)))
def test_a_good_file_survives_any_company(document: Any) -> None:
    good = entry("six-9.9.zip")
    body = encode(page(*document["files"], good))
    assert "six-9.9.zip" in [
        file.filename for file in parse_page(body, url=URL, project="six").files
    ]


@given(PAGES)
def test_what_is_written_is_what_is_read(written: ProjectPage) -> None:
    assert read(as_json(written)).files == written.files


def test_what_is_of_a_variant_is_left_out_quietly_whatever_is_wrong_with_it() -> None:
    odd = ["six-1.0-variants.json", "six-1.0-py3-none-any-x86_64_v3.whl"]
    files = [entry() | {"filename": name, "hashes": {"sha256": "none"}} for name in odd]
    found = read(page(entry(), *files))
    assert [file.filename for file in found.files] == [entry()["filename"]]
    assert found.left_out == tuple(odd)
    assert not found.problems
    assert not found.warnings
