"""Machine and versions are read from where the system tells them."""

from __future__ import annotations

from pathlib import Path

from actors.report.surroundings import machine_facts, version_facts


def test_the_machine_is_told_from_the_files_of_proc(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text(
        "model name\t: Zen 9\nflags\t\t: fpu avx512ifma\n\nmodel name\t: other\n"
    )
    (tmp_path / "mem").write_text("MemTotal:       2097152 kB\n")
    facts = machine_facts(tmp_path / "cpu", tmp_path / "mem")
    assert facts["CPU"] == "Zen 9"
    assert facts["AVX-512 IFMA"] == "yes"
    assert facts["memory"] == "2.0 GiB"
    assert int(facts["cores"]) >= 1


def test_a_system_without_proc_tells_less(tmp_path: Path) -> None:
    facts = machine_facts(tmp_path / "none", tmp_path / "none")
    assert facts["AVX-512 IFMA"] == "no"
    assert "memory" not in facts


def test_packages_that_are_not_installed_are_left_out() -> None:
    assert set(version_facts(("msgspec", "no-such-package-at-all"))) == {"python", "msgspec"}
