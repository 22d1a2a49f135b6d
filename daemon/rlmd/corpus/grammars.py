"""The languages whose grammars we have, and which of their nodes define something.  Runs in a worker process.

A grammar comes in a wheel of its own and is loaded when the first file of its language is parsed.
Parsing holds the interpreter's lock and trusts C code with what is in a file.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from tree_sitter import Language, Parser

from rlmd.corpus.roles import suffix

_C_KINDS = {
    "function_definition": "function",
    "struct_specifier": "struct",
    "union_specifier": "union",
    "enum_specifier": "enum",
    "enumerator": "constant",
    "type_definition": "type",
    "preproc_def": "macro",
    "preproc_function_def": "macro",
    "init_declarator": "variable",
}
_JS_KINDS = {
    "function_declaration": "function",
    "generator_function_declaration": "function",
    "class_declaration": "class",
    "method_definition": "method",
    "variable_declarator": "variable",
}


class Grammar(NamedTuple):
    """Where a grammar is found, and what its nodes of each type define."""

    module: str
    function: str
    kinds: Mapping[str, str]


_TS_KINDS = {
    **_JS_KINDS,
    "abstract_class_declaration": "class",
    "interface_declaration": "interface",
    "type_alias_declaration": "type",
    "enum_declaration": "enum",
    "function_signature": "function",
    "method_signature": "method",
    "internal_module": "namespace",
}

GRAMMARS: Mapping[str, Grammar] = MappingProxyType(
    {
        "python": Grammar(
            "tree_sitter_python",
            "language",
            {"function_definition": "function", "class_definition": "class", "assignment": "variable"},
        ),
        "javascript": Grammar("tree_sitter_javascript", "language", _JS_KINDS),
        "typescript": Grammar("tree_sitter_typescript", "language_typescript", _TS_KINDS),
        "tsx": Grammar("tree_sitter_typescript", "language_tsx", _TS_KINDS),
        "c": Grammar("tree_sitter_c", "language", _C_KINDS),
        "c++": Grammar(
            "tree_sitter_cpp",
            "language",
            {
                **_C_KINDS,
                "class_specifier": "class",
                "namespace_definition": "namespace",
                "alias_declaration": "type",
                "concept_definition": "concept",
            },
        ),
        "java": Grammar(
            "tree_sitter_java",
            "language",
            {
                "class_declaration": "class",
                "interface_declaration": "interface",
                "annotation_type_declaration": "annotation",
                "enum_declaration": "enum",
                "enum_constant": "constant",
                "record_declaration": "record",
                "method_declaration": "method",
                "constructor_declaration": "method",
                "variable_declarator": "variable",
            },
        ),
        "go": Grammar(
            "tree_sitter_go",
            "language",
            {
                "function_declaration": "function",
                "method_declaration": "method",
                "type_spec": "type",
                "type_alias": "type",
                "const_spec": "constant",
                "var_spec": "variable",
            },
        ),
        "rust": Grammar(
            "tree_sitter_rust",
            "language",
            {
                "function_item": "function",
                "function_signature_item": "function",
                "struct_item": "struct",
                "enum_item": "enum",
                "enum_variant": "constant",
                "union_item": "union",
                "trait_item": "trait",
                "impl_item": "impl",
                "mod_item": "module",
                "const_item": "constant",
                "static_item": "variable",
                "type_item": "type",
                "macro_definition": "macro",
            },
        ),
        "c#": Grammar(
            "tree_sitter_c_sharp",
            "language",
            {
                "namespace_declaration": "namespace",
                "class_declaration": "class",
                "interface_declaration": "interface",
                "struct_declaration": "struct",
                "record_declaration": "record",
                "enum_declaration": "enum",
                "enum_member_declaration": "constant",
                "method_declaration": "method",
                "constructor_declaration": "method",
                "property_declaration": "property",
                "delegate_declaration": "type",
                "variable_declarator": "variable",
            },
        ),
        "ruby": Grammar(
            "tree_sitter_ruby",
            "language",
            {
                "class": "class",
                "module": "module",
                "method": "method",
                "singleton_method": "method",
                "assignment": "variable",
            },
        ),
        "php": Grammar(
            "tree_sitter_php",
            "language_php",
            {
                "namespace_definition": "namespace",
                "class_declaration": "class",
                "interface_declaration": "interface",
                "trait_declaration": "trait",
                "enum_declaration": "enum",
                "function_definition": "function",
                "method_declaration": "method",
                "const_element": "constant",
            },
        ),
        "shell": Grammar("tree_sitter_bash", "language", {"function_definition": "function"}),
    }
)

_SUFFIXES = {
    "python": "py pyi pyw",
    "javascript": "js jsx mjs cjs",
    "typescript": "ts mts cts",
    "tsx": "tsx",
    "c": "c h",
    "c++": "cc cpp cxx hh hpp hxx ipp",
    "java": "java",
    "go": "go",
    "rust": "rs",
    "c#": "cs",
    "ruby": "rb rake",
    "php": "php",
    "shell": "sh bash",
}
_BY_SUFFIX = {end: language for language, ends in _SUFFIXES.items() for end in ends.split()}


def language_of(path: str) -> str | None:
    """Return the language that the file at *path* is parsed as, None where there is no grammar for it."""
    return _BY_SUFFIX.get(suffix(path))


@lru_cache(maxsize=len(GRAMMARS))
def parser_for(language: str) -> Parser:
    """Return the parser of *language*, one of GRAMMARS."""
    grammar = GRAMMARS[language]
    return Parser(Language(getattr(importlib.import_module(grammar.module), grammar.function)()))
