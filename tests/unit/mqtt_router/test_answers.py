"""What HAProxy answers, as HAProxy 2.6 has answered it."""

import pytest

from mqtt_router import answers
from mqtt_router.answers import Process
from mqtt_router.errors import HaproxyRefused
from mqtt_router.mapping import TWICE

INFO = "Name: HAProxy\nVersion: 2.6.12\nProcess_num: 1\nPid: 20182\nUptime: 0d 0h00m01s\nStart_time_sec: 1795787559\n\n"
SHOWN = "0x55a1240b1b70 x.example 127.0.0.1/9\n0x55a1240b1c60 y.example fd00::1/9\n\n"
UNKNOWN = "Unknown map identifier. Please use #<id> or <file>.\n\n"


def test_a_process_is_known_by_its_id_and_its_start() -> None:
    assert answers.process(INFO) == Process(20182, 1795787559)


def test_the_entries_of_a_map_are_read() -> None:
    assert answers.entries(SHOWN) == {"x.example": "127.0.0.1/9", "y.example": "fd00::1/9"}
    assert answers.entries("\n") == {}


def test_a_host_that_is_there_twice_is_marked_even_if_both_are_the_same() -> None:
    assert answers.entries(SHOWN + SHOWN.splitlines()[0] + "\n")["x.example"] == TWICE


def test_the_version_of_a_new_map_is_read() -> None:
    assert answers.version("New version created: 12\n\n") == 12


def test_a_change_that_is_done_is_answered_with_nothing() -> None:
    answers.done("add map x y z", "\n")


@pytest.mark.parametrize("read", [answers.process, answers.entries, answers.version])
@pytest.mark.parametrize("answer", [UNKNOWN, "Permission denied\n\n", "Unknown command\n", "x" * 10_000])
def test_any_other_answer_is_an_error_that_shows_it_shortened(read: object, answer: str) -> None:
    assert callable(read)
    with pytest.raises(HaproxyRefused) as refused:
        read(answer)

    assert answer.strip()[:20] in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "line", ["0x1 a;b 127.0.0.1/9", "0x1 <<x 127.0.0.1/9", "0x1 a b c", "0x1 A.example 1/1", "a b c"]
)
def test_an_entry_of_another_form_is_an_error_and_never_a_host_to_delete(line: str) -> None:
    with pytest.raises(HaproxyRefused):
        answers.entries(f"{line}\n\n")


@pytest.mark.parametrize("answer", ["", "\n"])
def test_no_answer_at_all_is_no_process_and_no_version(answer: str) -> None:
    with pytest.raises(HaproxyRefused):
        answers.process(answer)
    with pytest.raises(HaproxyRefused):
        answers.version(answer)


def test_a_change_that_is_refused_names_the_command() -> None:
    with pytest.raises(HaproxyRefused, match=r"'set map m x y' with 'entry not found\.'"):
        answers.done("set map m x y", "entry not found.\n\n")
