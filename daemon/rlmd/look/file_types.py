"""Names for kinds of files, as `--type` of ripgrep knows them: each stands for globs over file names."""

from __future__ import annotations

import difflib

from rlmd.errors import BadArgument
from rlmd.ingest.ignore import Rules

FILE_TYPES: dict[str, str] = {
    "asm": "*.S *.asm *.s",
    "c": "*.[chH] *.[chH].in *.cats",
    "clojure": "*.clj *.cljc *.cljs *.cljx",
    "cmake": "*.cmake CMakeLists.txt",
    "config": "*.cfg *.conf *.config *.ini",
    "cpp": "*.[ChH] *.[ChH].in *.[ch]pp *.[ch]pp.in *.[ch]xx *.[ch]xx.in *.cc *.cc.in *.hh *.hh.in *.inl",
    "cs": "*.cs",
    "csharp": "*.cs",
    "css": "*.css *.scss",
    "csv": "*.csv",
    "cuda": "*.cu *.cuh",
    "cython": "*.pxd *.pxi *.pyx",
    "d": "*.d",
    "dart": "*.dart",
    "docker": "*Dockerfile*",
    "elixir": "*.eex *.ex *.exs",
    "elm": "*.elm",
    "erlang": "*.erl *.hrl",
    "fortran": "*.F *.F77 *.F90 *.F95 *.f *.f77 *.f90 *.f95 *.pfo",
    "fsharp": "*.fs *.fsi *.fsx",
    "go": "*.go",
    "gradle": "*.gradle",
    "graphql": "*.graphql *.graphqls",
    "groovy": "*.gradle *.groovy",
    "h": "*.h *.hpp",
    "haskell": "*.c2hs *.cpphs *.hs *.hsc *.lhs",
    "hs": "*.hs *.lhs",
    "html": "*.ejs *.htm *.html",
    "java": "*.java *.jsp *.jspx *.properties",
    "jinja": "*.j2 *.jinja *.jinja2",
    "jl": "*.jl",
    "js": "*.cjs *.js *.jsx *.mjs *.vue",
    "json": "*.json composer.lock",
    "julia": "*.jl",
    "kotlin": "*.kt *.kts",
    "less": "*.less",
    "lisp": "*.el *.jl *.lisp *.lsp *.sc *.scm",
    "lock": "*.lock package-lock.json",
    "log": "*.log",
    "lua": "*.lua",
    "m4": "*.ac *.m4",
    "make": (
        "*.mak *.mk [Gg][Nn][Uu]makefile [Gg][Nn][Uu]makefile.am [Gg][Nn][Uu]makefile.in [Mm]akefile "
        "[Mm]akefile.am [Mm]akefile.in"
    ),
    "markdown": "*.markdown *.md *.mdown *.mkdn",
    "md": "*.markdown *.md *.mdown *.mkdn",
    "msbuild": "*.csproj *.fsproj *.proj *.props *.targets *.vcxproj",
    "nim": "*.nim *.nimble *.nimf *.nims",
    "nix": "*.nix",
    "objc": "*.h *.m",
    "ocaml": "*.ml *.mli *.mll *.mly",
    "perl": "*.PL *.perl *.pl *.plh *.plx *.pm *.t",
    "php": "*.php *.php3 *.php4 *.php5 *.phtml",
    "powershell": "*.cdxml *.ps1 *.ps1xml *.psd1 *.psm1",
    "protobuf": "*.proto",
    "ps": "*.cdxml *.ps1 *.ps1xml *.psd1 *.psm1",
    "puppet": "*.erb *.pp *.rb",
    "py": "*.py",
    "python": "*.py",
    "qml": "*.qml",
    "r": "*.R *.Rmd *.Rnw *.r",
    "rst": "*.rst",
    "ruby": "*.gemspec *.rb *.rbw .irbrc Gemfile Rakefile config.ru",
    "rust": "*.rs",
    "sass": "*.sass *.scss",
    "scala": "*.sbt *.scala",
    "sh": (
        "*.bash *.bashrc *.csh *.cshrc *.ksh *.kshrc *.sh *.tcsh *.zsh .bash_login .bash_logout "
        ".bash_profile .bashrc .cshrc .kshrc .login .logout .profile .tcshrc .zlogin .zlogout .zprofile "
        ".zshenv .zshrc bash_login bash_logout bash_profile bashrc profile zlogin zlogout zprofile "
        "zshenv zshrc"
    ),
    "solidity": "*.sol",
    "spark": "*.spark",
    "sql": "*.psql *.sql",
    "svelte": "*.svelte",
    "svg": "*.svg",
    "swift": "*.swift",
    "systemd": (
        "*.automount *.conf *.device *.link *.mount *.path *.scope *.service *.slice *.socket *.swap "
        "*.target *.timer"
    ),
    "tcl": "*.tcl",
    "tex": "*.bib *.cls *.dtx *.ins *.ltx *.sty *.tex",
    "tf": "*.tf",
    "toml": "*.toml Cargo.lock",
    "ts": "*.cts *.mts *.ts *.tsx",
    "txt": "*.txt",
    "typescript": "*.cts *.mts *.ts *.tsx",
    "vim": "*.vim",
    "vue": "*.vue",
    "xml": "*.dtd *.rng *.sch *.xhtml *.xjb *.xml *.xml.dist *.xsd *.xsl *.xslt",
    "yaml": "*.yaml *.yml",
    "zig": "*.zig",
}
"""Globs are separated by blanks."""


def rules_of_type(name: str) -> Rules:
    """The globs of *name*, compiled.  Raises BadArgument that names the nearest types."""
    if name in FILE_TYPES:
        return Rules.from_globs(FILE_TYPES[name].split())
    nearest = difflib.get_close_matches(name, FILE_TYPES) or sorted(FILE_TYPES)
    raise BadArgument(f"unknown file_type: {name}", f"Nearest: {', '.join(nearest)}. A glob says the same.")
