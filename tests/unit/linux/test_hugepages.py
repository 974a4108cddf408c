"""The policy on huge pages, on files that look like the kernel's; the real one is the whole machine's."""

from pathlib import Path

from pycarpd.linux.hugepages import allow_huge_pages, huge_page_policy


def test_the_chosen_policy_is_read(tmp_path: Path) -> None:
    file = tmp_path / "enabled"
    file.write_text("always [madvise] never\n", encoding="ascii")
    assert huge_page_policy(file) == "madvise"


def test_a_kernel_without_huge_pages_has_no_policy(tmp_path: Path) -> None:
    assert huge_page_policy(tmp_path / "enabled") is None


def test_the_policy_is_changed_only_where_it_differs(tmp_path: Path) -> None:
    file = tmp_path / "enabled"
    file.write_text("always [madvise] never\n", encoding="ascii")
    assert allow_huge_pages(file) is None
    assert file.read_text(encoding="ascii") == "always"
    file.write_text("[always] madvise never\n", encoding="ascii")
    assert allow_huge_pages(file) is None
    assert file.read_text(encoding="ascii") == "[always] madvise never\n"


def test_a_refusal_says_what_it_costs_and_what_to_do(tmp_path: Path) -> None:
    refused = allow_huge_pages(tmp_path)
    assert refused is not None
    assert refused.code == "no-huge-pages"
    assert "Is a directory" in refused.detail
    assert "huge_pages = false" in refused.remedy
