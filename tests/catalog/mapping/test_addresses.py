"""An address is read as it was written, however it is kept."""

from __future__ import annotations

from contextlib import suppress

import pytest
from sqlalchemy import text

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.mapping.addresses import shortened
from pypimirror.catalog.queries import files
from pypimirror.upstream.checks import RefusedError, resolve
from tests.catalog.test_queries import add_file, add_project

ROOT = "http://127.0.0.1/packages"


@pytest.mark.parametrize(
    "address",
    [
        f"{ROOT}/ab/cd/six-1.0.zip",
        f"{ROOT}/",
        f"{ROOT}/six-1.0.zip?key=1",
        f"{ROOT}/get?name=six-1.0.zip",
        f"{ROOT}/Asix-1.0.zip",
        f"{ROOT}/%20",
        "http://127.0.0.1/six-1.0.zip",
    ],
)
def test_addresses_are_read_as_they_were_written(catalog: Catalog, address: str) -> None:
    with catalog.write() as connection:
        project = add_project(connection, "six")
        number = add_file(connection, project, "six-1.0.zip", url=address)
        (row,) = files.of_projects(connection, [project])
        assert row.url == address
        files.change(connection, [{"id": number, "url": f"{address}?again"}])
        found = files.get(connection, number)
        assert found is not None and found.url == f"{address}?again"


def test_a_name_is_not_kept_twice(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection, "six")
        add_file(connection, project, "six-1.0.zip", url=f"{ROOT}/six-1.0.zip")
        kept = connection.alchemy.scalar(text("SELECT url FROM files"))
        assert kept == f"{ROOT}/ " == shortened({"url": f"{ROOT}/a", "filename": "a"})


@pytest.mark.parametrize("link", [f"{ROOT}/ ", f"{ROOT}/a ?b ", "x ", f"{ROOT}/a# ", " "])
def test_no_address_ends_in_what_stands_for_a_name(link: str) -> None:
    with suppress(RefusedError):
        assert not resolve(link, f"{ROOT}/").endswith(" ")
