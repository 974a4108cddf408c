import pytest

from pycarpd.invariant import InvariantError
from pycarpd.wire.keys import KEYS_MAX, Key, KeyFault, KeyFaultCode, KeyRing, generate_key_line
from tests.scapy_layer import Keys
from tests.unit.wire.cluster import KEY_LINE, OTHER_KEY_LINE, keyring


def test_the_first_key_sends_and_all_are_found_by_id() -> None:
    ring = keyring("# the keys of the cluster", "", f"  {KEY_LINE}  # since May", OTHER_KEY_LINE.upper())
    assert [ring.sending, *ring.keys[1:]] == [
        Key.derive(bytes.fromhex(KEY_LINE)),
        Key.derive(bytes.fromhex(OTHER_KEY_LINE)),
    ]
    assert all(key in ring.by_id(key.key_id) for key in ring.keys)
    unused = next(number for number in range(256) if number not in {key.key_id for key in ring.keys})
    assert ring.by_id(unused) == ()


def test_keys_are_derived_as_the_standard_library_derives_them() -> None:
    key, independent = keyring().sending, Keys(KEY_LINE)
    assert (key.key_id, key.trailer_key, key.carp_key) == (
        independent.key_id,
        independent.trailer,
        independent.carp,
    )
    assert key.key_id == 0xE8
    assert (len(key.trailer_key), len(key.carp_key)) == (32, 20)


def test_two_keys_may_share_an_id() -> None:
    by_id: dict[int, str] = {}
    for number in range(1000):
        line = number.to_bytes(32, "big").hex()
        other = by_id.setdefault(Key.derive(bytes.fromhex(line)).key_id, line)
        if other != line:
            ring = keyring(other, line)
            break
    assert ring.by_id(ring.sending.key_id) == ring.keys


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", KeyFaultCode.NO_KEY, 0),
        ("# nothing here\n\n", KeyFaultCode.NO_KEY, 0),
        (KEY_LINE + "\nhello", KeyFaultCode.NOT_HEX, 2),
        (KEY_LINE + "0", KeyFaultCode.NOT_HEX, 1),
        (KEY_LINE + " " + KEY_LINE, KeyFaultCode.NOT_HEX, 1),
        ("\N{FULLWIDTH DIGIT ONE}" * 64, KeyFaultCode.NOT_HEX, 1),
        ("#\n\n" + KEY_LINE[2:], KeyFaultCode.TOO_SHORT, 3),
        (KEY_LINE * 5, KeyFaultCode.TOO_LONG, 1),
        (f"{KEY_LINE}\n{OTHER_KEY_LINE}\n{KEY_LINE.upper()}", KeyFaultCode.DUPLICATE, 3),
        ("\n".join(bytes([n] * 32).hex() for n in range(KEYS_MAX + 1)), KeyFaultCode.TOO_MANY, KEYS_MAX + 1),
    ],
)
def test_a_bad_key_file_is_a_fault_with_its_line_and_rule(text: str, code: KeyFaultCode, line: int) -> None:
    fault = KeyRing.parse(text)
    assert fault == KeyFault(code, line)
    assert isinstance(fault, KeyFault)
    assert fault.rule


def test_a_generated_line_is_a_key() -> None:
    line = generate_key_line(bytes(range(32)))
    assert line == KEY_LINE
    with pytest.raises(InvariantError):
        generate_key_line(bytes(31))


def test_nothing_secret_is_shown() -> None:
    key = keyring().sending
    shown = repr(keyring())
    assert key.trailer_key.hex() not in shown
    assert repr(key.trailer_key) not in shown
    assert repr(key.carp_key) not in shown
