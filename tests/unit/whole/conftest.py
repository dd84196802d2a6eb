"""What several tests of this room need."""

import pytest


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a certificate of localhost with its key, and of the authority that is to be trusted for it."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    place = tmp_path_factory.mktemp("certificates")
    chain, trusted = place / "chain.pem", place / "trusted.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(chain)
    authority.cert_pem.write_to_path(trusted)
    return [str(chain), str(trusted)]
