"""Which CAs a request for a client certificate names, and what is said where it names none."""

from support.pki import Ca, build, ca_extensions, crowd, ec_key, openssl_leaf, openssl_root

from gateway.x509.ca_names import MAX_CA_NAMES_BYTES, named_in_request, why_none_is_named
from gateway.x509.loading import load_certificates


def certificates(cas):
    return tuple(ca.certificate for ca in cas)


def test_the_longest_names_that_fit_and_one_byte_more():
    anchors = certificates(crowd(MAX_CA_NAMES_BYTES))
    assert sum(2 + len(anchor.subject.public_bytes()) for anchor in anchors) == MAX_CA_NAMES_BYTES
    assert named_in_request(anchors) == anchors
    assert why_none_is_named(anchors) is None

    more = certificates(crowd(MAX_CA_NAMES_BYTES + 1))
    assert named_in_request(more) == ()
    assert why_none_is_named(more) == (
        "the names of 705 CAs in client_ca have 31,745 bytes. Some clients can't read more than 31,744, so the gateway"
        " sends no names, and clients offer every certificate that they have; "
        "remove CAs that are no longer used from client_ca"
    )


def test_each_name_once_by_its_bytes():
    key = ec_key()
    old, new = (build("CN=a", key.public_key(), "CN=a", key, extensions=ca_extensions()) for _ in range(2))
    other = Ca.make("CN=A").certificate  # the same name to RFC 5280, but not the same bytes
    assert named_in_request([old, other, new]) == (old, other)


def test_the_subject_is_found_in_every_version_of_certificates(tmp_path):
    """What `openssl x509 -req` makes is X.509v1, in which the field of the version is left out."""
    root = load_certificates(openssl_root(tmp_path))[0]
    first, second = (load_certificates(openssl_leaf(tmp_path, name)[0])[0] for name in ("alice", "bob"))
    assert named_in_request([root, first, second, first]) == (root, first, second)


def test_nobody():
    assert named_in_request([]) == ()
    assert why_none_is_named([]) is None
