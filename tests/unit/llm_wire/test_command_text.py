"""What a program is told, and what of our environment it sees."""

from fake_provider import chat_of
from rlmd.llm.command import passed_on, prompt_text
from rlmd.llm.values import Chat, Message


def test_a_single_message_is_passed_on_verbatim_and_a_talk_with_its_speakers():
    talk = (Message("system", "S"), Message("user", "q"), Message("assistant", "a"), Message("user", "r"))

    assert prompt_text(chat_of(" x ")) == " x "
    assert prompt_text(Chat(messages=talk[:2], model="m")) == "S\n\nq"
    assert prompt_text(Chat(messages=talk, model="m")) == "S\n\nUser:\nq\n\nAssistant:\na\n\nUser:\nr"
    assert prompt_text(chat_of("x", json_schema="{}")).endswith("{}")


def test_what_a_program_needs_is_passed_on():
    assert passed_on({"PATH": "/bin", "LC_ALL": "C", "XDG_CONFIG_HOME": "/c", "MY_TOKEN": "x"}) == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "XDG_CONFIG_HOME": "/c",
    }
