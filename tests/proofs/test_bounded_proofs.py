"""The harnesses of `make prove` without CBMC: on values by chance, with fixed seeds; planted faults still apply.

What CBMC proves is the long form's; here the harnesses compile, hold for the source as it is, and find faults.
"""

import os
import shutil

import pytest
from proof_run import SOURCE, find_cbmc, plant, planted, play
from proof_table import PROOFS

pytestmark = [
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="played on the default interpreter only"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_harness_holds_by_chance(proof):
    status, said = play(proof, proof.sizes[-1], 500)
    assert status == 0, said


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_planted_fault_applies(proof):
    whole = (SOURCE / proof.fault.path).read_text(encoding="utf-8")
    assert plant(whole, proof.fault) != whole


@pytest.mark.parametrize("name", ["ring: pop", "outbuf: sent", "records: drop"])
def test_planted_fault_is_found(name):
    proof = next(proof for proof in PROOFS if proof.name == name)
    with planted(proof.fault) as source:
        status, _ = play(proof, proof.fault.sizes, 500, source)
    assert status not in (0, 2)


def test_cbmc_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LOOPMOD_SID_DIR", str(tmp_path))
    assert find_cbmc() is None
