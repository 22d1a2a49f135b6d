"""Which engine counts: the fast one if it proves itself, the reference if not."""

from __future__ import annotations

import pytest

from rlmd.tokens import engines
from rlmd.tokens.encodings import CL100K_BASE
from rlmd.tokens.engines import EngineRefused, Panicked, admit, choose_engine, tamed
from rlmd.tokens.gate import SAMPLES, first_difference, scrambled


class PanicException(BaseException):
    """What pyo3 raises in place of a Rust panic."""


def codes(text):
    return [ord(character) for character in text]


def test_an_engine_with_the_references_ids_is_admitted():
    engine = admit(lambda: codes, lambda text: tuple(codes(text)))

    assert (engine.name, engine.encode, engine.refusal) == ("gigatoken", codes, None)


@pytest.mark.parametrize("lie_at", [0, 5, 15, len(SAMPLES) - 1])
def test_an_engine_that_lies_about_a_single_sample_is_refused(lie_at):
    def lying(text):
        return [*codes(text), 0] if text == SAMPLES[lie_at] else codes(text)

    engine = admit(lambda: lying, codes)

    assert (engine.name, engine.encode) == ("tiktoken", codes)
    assert "other ids than tiktoken" in str(engine.refusal)


def test_an_engine_with_the_right_number_of_wrong_ids_is_refused():
    assert admit(lambda: lambda text: [0] * len(text), codes).name == "tiktoken"


def test_an_engine_that_cannot_be_loaded_is_refused_with_the_reason():
    def load():
        raise ImportError("no wheel for this machine")

    engine = admit(load, codes)

    assert (engine.name, engine.refusal) == ("tiktoken", "ImportError: no wheel for this machine")


def test_an_engine_that_panics_on_a_sample_is_refused():
    def panicking(text):
        raise PanicException("index out of bounds")

    engine = admit(lambda: tamed(panicking), codes)

    assert (engine.name, engine.refusal) == ("tiktoken", "Panicked: index out of bounds")


def test_a_lying_engine_asked_for_by_name_is_an_error(monkeypatch):
    monkeypatch.setattr(engines, "load_gigatoken", lambda *_: lambda text: [])
    monkeypatch.setattr(engines, "load_tiktoken", lambda *_: codes)

    assert choose_engine(CL100K_BASE, "auto").name == "tiktoken"
    with pytest.raises(EngineRefused, match="other ids"):
        choose_engine(CL100K_BASE, "gigatoken")


def test_asking_for_tiktoken_never_loads_the_other(monkeypatch):
    monkeypatch.delattr(engines, "load_gigatoken")
    monkeypatch.setattr(engines, "load_tiktoken", lambda *_: codes)

    assert choose_engine(CL100K_BASE, "tiktoken").encode is codes


def test_a_panic_becomes_an_exception_and_other_base_exceptions_pass():
    def stop(text):
        raise KeyboardInterrupt

    def panic(text):
        raise PanicException("boom")

    with pytest.raises(Panicked, match="boom"):
        tamed(panic)("x")
    with pytest.raises(KeyboardInterrupt):
        tamed(stop)("x")


def test_the_scrambled_samples_are_the_same_every_time_and_all_different():
    assert scrambled() == scrambled()
    assert len(set(scrambled())) == 200


def test_the_first_sample_that_differs_is_named():
    assert first_difference(codes, lambda text: codes(text.replace("b", "c")), ["a", "b", "bb"]) == "b"
