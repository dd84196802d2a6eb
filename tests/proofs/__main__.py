"""`make prove`: CBMC proves the pure pieces of src/, on every state of a bounded size; see README.md beside this.

    python tests/proofs                       # all of them, and that each finds its planted fault
    python tests/proofs heap "ring: push"     # these
    python tests/proofs --played 100000       # without CBMC: the same harnesses on values by chance

CBMC is found in PATH, or in the Debian sid chroot of tools/test-sid ($LOOPMOD_SID_DIR), into which
`apt-get install cbmc` puts it; Debian and Ubuntu have it, and https://github.com/diffblue/cbmc has packages.
"""

import argparse
import sys
import time

from proof_run import Failed, find_cbmc, planted, play, prove_one
from proof_table import PROOFS

MISSING = """prove: skipped, there is no cbmc. Install it (Debian sid: `apt-get install cbmc`), or have it in
the chroot of tools/test-sid: <sidroot> run ~/.cache/loopmod-sid apt-get install -y cbmc"""


def prove(proof, cbmc, limit):
    """One line; whether it is proven, and fails with its fault planted."""
    began = time.monotonic()
    claims = 0
    try:
        for sizes in proof.sizes:
            claims += prove_one(cbmc, proof, sizes, limit)
    except Failed as failure:
        print(f"{proof.name:22} FAILED {failure.sizes}\n{failure}", flush=True)
        return False
    said = f"{proof.name:22} {len(proof.sizes):3} sizes {claims:6} claims"
    with planted(proof.fault) as source:
        try:
            prove_one(cbmc, proof, proof.fault.sizes, limit, source)
        except Failed as failure:
            is_found = failure.is_refuted
        else:
            is_found = False
    took = time.monotonic() - began
    print(f"{said} {took:6.1f} s   fault {'found' if is_found else 'NOT FOUND'}", flush=True)
    return is_found


def play_all(proofs, times):
    """The same without CBMC."""
    failed = 0
    for proof in proofs:
        for sizes in proof.sizes:
            status, said = play(proof, sizes, times)
            if status:
                failed += 1
                print(f"{proof.name} {sizes}: {said}")
    print(f"{len(proofs)} proofs played {times} times at each size: {failed} fail")
    return failed


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/proofs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("proof", nargs="*", help="a piece, or a piece and a proof of it: 'heap', 'ring: push'")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one size of one proof")
    parser.add_argument("--played", type=int, help="values by chance, so many times")
    options = parser.parse_args()
    proofs = [proof for proof in PROOFS if not options.proof or {proof.harness, proof.name} & set(options.proof)]
    if options.played:
        return 1 if play_all(proofs, options.played) else 0
    cbmc = find_cbmc()
    if cbmc is None:
        print(MISSING)
        return 0
    began = time.monotonic()
    failed = sum(not prove(proof, cbmc, options.limit) for proof in proofs)
    print(f"{len(proofs)} proofs in {time.monotonic() - began:.0f} s: {failed} fail")
    return 1 if failed or not proofs else 0


if __name__ == "__main__":
    sys.exit(main())
