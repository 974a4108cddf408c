import hashlib

from pycarpd.wire.identity import node_id_of


def test_an_id_is_the_beginning_of_the_hash_of_the_name() -> None:
    assert node_id_of("meta1") == int(hashlib.sha256(b"meta1").hexdigest()[:16], 16)


def test_names_of_any_script_have_different_ids_of_64_bits() -> None:
    ids = [node_id_of(name) for name in ("meta1", "meta2", "META1", "méta1", "")]
    assert len(set(ids)) == len(ids)
    assert all(0 < node_id < 2**64 for node_id in ids)
