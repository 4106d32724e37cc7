import os
import resource
import stat
from pathlib import Path

import pytest

from pinecone_transport.identity import Identity
from pinecone_transport.node.keyfile import KeyFileError, format_signing_key, read_key_file, write_key_file

SEED = bytes(range(32))
LINE = "ed25519 dendrite-demo-yggdrasil AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"


def test_a_key_that_was_written_is_read_back(tmp_path: Path) -> None:
    identity = Identity.generate()
    write_key_file(tmp_path / "node.key", identity)
    assert read_key_file(tmp_path / "node.key").key == identity.key


def test_the_file_is_a_synapse_signing_key_with_the_version_that_dendrite_accepts(tmp_path: Path) -> None:
    write_key_file(tmp_path / "node.key", Identity(SEED))
    assert (tmp_path / "node.key").read_text() == LINE == format_signing_key(Identity(SEED))


def test_only_the_owner_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        write_key_file(tmp_path / "node.key", Identity(SEED))
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["file", "dangling link"])
def test_nothing_is_ever_overwritten(tmp_path: Path, name: str) -> None:
    path = tmp_path / "node.key"
    if name == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match=r"already, and a key is never overwritten|cannot be made"):
        write_key_file(path, Identity(SEED))
    assert name != "file" or path.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_key_is_not_left_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # as if the disk were full
    try:
        with pytest.raises(KeyFileError, match="cannot be written"):
            write_key_file(tmp_path / "node.key", Identity(SEED))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "node.key").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be made: No such file or directory"):
        write_key_file(tmp_path / "no" / "node.key", Identity(SEED))


@pytest.mark.parametrize(
    "content", [LINE, LINE.rstrip(), "\n" + LINE, LINE.rstrip() + "=\n", LINE + "ed25519 old AAAA\n"]
)
def test_what_synapse_reads_is_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "node.key").write_text(content)
    assert read_key_file(tmp_path / "node.key").seed == SEED


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"hello", "is not a signing key"),
        (b"\xff\xfe", "is not a signing key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", "is not a signing key"),
        (b"rsa a AAAA", "is of type 'rsa'"),
        (b"ed25519 a !!!!", "is not base64"),
        (b"ed25519 a AAAAA", "is not base64"),
        (b"ed25519 a AAAA", "has 3 bytes instead of 32"),
    ],
)
def test_each_mistake_has_its_sentence_with_the_path(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(content)
    with pytest.raises(KeyFileError) as raised:
        read_key_file(path)
    assert sentence in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_missing_file_comes_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="pinecone keygen"):
        read_key_file(tmp_path / "node.key")


def test_a_folder_is_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        read_key_file(tmp_path)
