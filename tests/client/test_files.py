"""FILE columns, over each transport."""

import hashlib
import json

import pytest

from kalam_jupyter.client import ClientError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
def library(connection):
    connection.kalam(
        "CREATE NAMESPACE library;"
        "CREATE TABLE library.books (id INT PRIMARY KEY, title TEXT, cover FILE) WITH (TYPE = 'SHARED');"
    )
    return connection


def test_bytes_come_back_as_they_went(library):
    (result,) = library.kalam(
        "INSERT INTO library.books VALUES ($1, $2, FILE('cover'))", [1, "tea"], files={"cover": PNG}
    )
    assert result.row_count == 1
    (row,) = library.table("library.books").to_pylist()
    reference = json.loads(row["cover"])
    assert (row["title"], reference["name"], reference["mime"]) == ("tea", "cover", "image/png")
    assert (reference["size"], reference["sha256"]) == (len(PNG), hashlib.sha256(PNG).hexdigest())
    assert library.read_file("library.books", row["cover"]) == PNG
    assert library.read_file("library.books", reference) == PNG


def test_a_path_gives_its_name(library, tmp_path):
    path = tmp_path / 'a "large" table.txt'
    path.write_bytes(b"--boundary\r\n\r\n")
    library.kalam("INSERT INTO library.books (id, cover) VALUES (1, FILE('x'))", files={"x": path})
    (row,) = library.table("library.books").to_pylist()
    assert json.loads(row["cover"])["size"] == 14
    assert json.loads(row["cover"])["mime"] == "text/plain"
    assert library.read_file("library.books", row["cover"]) == b"--boundary\r\n\r\n"


def test_what_cannot_be_read_is_told(library, tmp_path):
    insert = "INSERT INTO library.books (id, cover) VALUES (1, FILE('x'))"
    with pytest.raises(ClientError, match="No such file"):
        library.kalam(insert, files={"x": tmp_path / "nothing"})
    for reference in ("{}", "no JSON", {"id": 1}):
        with pytest.raises(ClientError, match="no value of a FILE column"):
            library.read_file("library.books", reference)
    with pytest.raises(ClientError, match=r"namespace\.table"):
        library.read_file("books", {"sub": "f0001", "id": "1"})
    with pytest.raises(ClientError) as missing:
        library.read_file("library.books", {"sub": "f0001", "id": "1"})
    assert missing.value.status == 404
    assert library.table("library.books").num_rows == 0


def test_an_upload_that_fails_keeps_nothing(library):
    insert = "INSERT INTO library.books (id, cover) VALUES (1, FILE('x'))"
    library.kalam(insert, files={"x": PNG})
    with pytest.raises(ClientError, match="Primary key violation"):
        library.kalam(insert, files={"x": b"other"})
    (row,) = library.table("library.books").to_pylist()
    assert library.read_file("library.books", row["cover"]) == PNG
