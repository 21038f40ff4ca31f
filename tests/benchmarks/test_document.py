"""A document keeps what other measurements wrote."""

from pathlib import Path

from benchmarks.document import write_part


def test_a_part_is_added_replaced_and_leaves_the_others_alone(tmp_path: Path) -> None:
    document = tmp_path / "RESULTS.md"
    document.write_text("# Results\n")
    write_part(document, "choices", "one")
    write_part(document, "recordings", "two\n")
    write_part(document, "choices", "three\nfour")
    assert document.read_text() == (
        "# Results\n\n<!-- choices: begin -->\nthree\nfour\n<!-- choices: end -->\n\n"
        "<!-- recordings: begin -->\ntwo\n<!-- recordings: end -->\n"
    )
