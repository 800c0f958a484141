from bench.ceilings.signatures import bare_signer, measure_signatures


def test_all_processes_count() -> None:
    made = measure_signatures("ed25519-sha256", 0.05, 2)
    assert made.per_second > 100
    assert 1 < made.cpu_us < 10_000


def test_a_signer_signs() -> None:
    assert len(bare_signer("rsa-sha256")()) == 256
    assert len(bare_signer("ed25519-sha256")()) == 64
