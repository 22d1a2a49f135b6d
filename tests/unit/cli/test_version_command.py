import json
import sys
from pathlib import Path

import rlmd
from rlmd.cli.version import version


def test_version_is_one_line_for_people(capsys):
    assert version() == 0

    assert capsys.readouterr().out == f"rlmd {rlmd.__version__}\n"


def test_version_as_json_says_what_it_runs_on(capsys):
    version(as_json=True)

    assert json.loads(capsys.readouterr().out) == {
        "version": rlmd.__version__,
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "package": str(Path(rlmd.__file__).parent),
    }
